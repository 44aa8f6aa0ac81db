"""Makes batches for a model: each place of its inputs gets what it may take."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_padsafe.proof.doors import Watch
from keras_padsafe.proof.find_reach import Part
from keras_padsafe.proof.pools import Pair, new_pool, old_pool
from keras_padsafe.proof.run_model import run_model, with_leaves

_ROWS, _BATCHES, _NUMBERS = 64, 16, 1 << 22


@dataclass(frozen=True)
class Sample:
    """A batch as the old model calls its ids, and the same as the new one does."""

    old: Any
    new: Any


class Sampler:
    """Makes batches for both models.

    Args:
        pair: The models, and which inputs reach what.
        model: The old model, which is run until every id is one that it has.
    """

    def __init__(self, pair: Pair, model: Any) -> None:
        self._pair = pair
        parts = pair.reach.parts
        self._low, self._above = [0] * len(parts), [0] * len(parts)
        self._pads = [self._pad(part) for part in parts]
        self._settle(model)

    @property
    def has_pads(self) -> bool:
        """Whether it is known of any input what stands for padding."""
        return any(pad is not None for pad in self._pads)

    def samples(self) -> Iterator[Sample]:
        """Batches with all old ids, or with a few thousand of them."""
        pools = self._old_pools()
        rows = self._rows(pools)
        for number in range(self._count(pools, rows)):
            yield Sample(
                self._batch(pools, rows, number),
                self._batch(self._renamed(pools), rows, number),
            )

    def new_sample(self) -> Any:
        """A batch of new ids or words; `None` if no input takes any.

        Raises:
            NotShown: if an input feeds other tables too, which lack them.
        """
        pair, parts = self._pair, self._pair.reach.parts
        new = [
            new_pool(pair, part, above)
            for part, above in zip(parts, self._above, strict=True)
        ]
        if all(pool is None for pool in new):
            return None
        rest = self._renamed(self._old_pools())
        pools = [
            old if one is None else one for one, old in zip(new, rest, strict=True)
        ]
        return self._batch(pools, self._rows(pools), 0)

    def rows_of_ids(self, *, padded: bool) -> Any:
        """A batch without what stands for padding, or one that ends in it."""
        pools = [
            None if pool is None else pool[[v != pad for v in pool]]
            for pool, pad in zip(self._old_pools(), self._pads, strict=True)
        ]
        return self._batch(pools, self._fixed_rows() or 8, 0, padded=padded)

    def _old_pools(self) -> list[np.ndarray | None]:
        return [
            old_pool(self._pair, part, low, above)
            for part, low, above in zip(
                self._pair.reach.parts, self._low, self._above, strict=True
            )
        ]

    def _renamed(self, pools: list[np.ndarray | None]) -> list[np.ndarray | None]:
        change = self._pair.change
        return [
            change.renamed(pool)
            if change and pool is not None and self._pair.changed_ids(part.direct)
            else pool
            for part, pool in zip(self._pair.reach.parts, pools, strict=True)
        ]

    def _settle(self, model: Any) -> None:
        """Leaves out ids of which the model computes some that a table lacks."""
        for _ in range(20):
            watch, settled = Watch(self._pair.old, harmless=True), True
            pools = self._old_pools()
            with watch.watching():
                run_model(model, self._batch(pools, self._rows(pools), 0))
            for index, part in enumerate(self._pair.reach.parts):
                for number in part.derived:
                    under, over = _overshoot(watch, number, self._pair.old[number].size)
                    self._low[index] += under
                    self._above[index] += over
                    settled = settled and not under and not over
            if settled:
                return

    def _rows(self, pools: list[np.ndarray | None]) -> int:
        if fixed := self._fixed_rows():
            return fixed
        needed = [
            math.ceil(len(pool) / len(part.places) / 2)
            for part, pool in zip(self._pair.reach.parts, pools, strict=True)
            if pool is not None
        ]
        most = max(1, _NUMBERS // max(self._pair.reach.output_size, 1))
        return min(_ROWS, most, max(4, *needed, 0))

    def _fixed_rows(self) -> int | None:
        return next((o.shape[0] for o in self._pair.reach.inputs if o.shape[0]), None)

    def _count(self, pools: list[np.ndarray | None], rows: int) -> int:
        counts = [
            math.ceil(len(pool) / (rows * len(part.places)))
            for part, pool in zip(self._pair.reach.parts, pools, strict=True)
            if pool is not None
        ]
        return min(_BATCHES, max(1, *counts, 0))

    def _batch(
        self,
        pools: list[np.ndarray | None],
        rows: int,
        number: int,
        *,
        padded: bool = False,
    ) -> Any:
        inputs, generator = self._pair.reach.inputs, np.random.default_rng(number)
        leaves = [np.empty((rows, one.places), one.numpy_dtype) for one in inputs]
        for index, (part, pool) in enumerate(
            zip(self._pair.reach.parts, pools, strict=True)
        ):
            shape = (rows, len(part.places))
            values = self._values(part, pool, shape, number, generator)
            pad = self._pads[index]
            if padded and pad is not None:
                values = np.where(self._padding(part, rows), pad, values)
            leaves[part.input][:, part.places] = values
        return with_leaves(
            self._pair.reach.structure,
            [
                leaf.reshape(rows, *one.shape[1:])
                for leaf, one in zip(leaves, inputs, strict=True)
            ],
        )

    def _values(
        self,
        part: Part,
        pool: np.ndarray | None,
        shape: tuple[int, int],
        number: int,
        generator: np.random.Generator,
    ) -> np.ndarray:
        one, count = self._pair.reach.inputs[part.input], math.prod(shape)
        if pool is None:
            if one.is_text:
                return np.full(shape, "word", object)
            if one.kind != "f":
                return np.ones(shape)
            return generator.normal(size=shape)
        if not len(pool):
            return np.full(shape, "word" if one.is_text else 0, object)
        chosen = pool[np.arange(number * count, (number + 1) * count) % len(pool)]
        if one.is_text and self._takes_sentences(part):
            chosen = chosen + " " + chosen[::-1] + " " + np.roll(chosen, 1)
        return chosen.reshape(shape)

    def _takes_sentences(self, part: Part) -> bool:
        doors = [self._pair.old[n] for n in (*part.direct, *part.derived)]
        return any(door.many for door in doors)

    def _pad(self, part: Part) -> float | None:
        """What stands for padding; a mask is False or 0 there."""
        for number in part.direct:
            pad = self._pair.old[number].pad
            pad = self._pair.reach.pads.get(number, pad)
            if pad is not None:
                return pad
        is_mask = self._pair.reach.inputs[part.input].kind in "biu"
        return 0 if is_mask and not part.direct and not part.derived else None

    def _padding(self, part: Part, rows: int) -> np.ndarray:
        """Marks the last steps: none in the first row, all in the last."""
        one = self._pair.reach.inputs[part.input]
        steps = int(one.shape[1] or 1) if len(one.shape) > 1 else 1
        step = part.places // (one.places // steps)
        real = np.round(np.linspace(steps, 0, rows)).astype(int)
        return step >= real[:, None]


def _overshoot(watch: Watch, number: int, size: int) -> tuple[int, int]:
    """By how much the ids that entered a table are too small, and too large."""
    if size == 0:
        return 0, 0
    calls = [c for c in watch.entered.get(number, []) if c is not None and c.size]
    lowest = min((int(call.min()) for call in calls), default=0)
    highest = max((int(call.max()) for call in calls), default=0)
    return max(0, -lowest), max(0, highest - size + 1)
