"""Makes batches for a model: each place of its inputs gets what it may take."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_padsafe.proof.column_inputs import ColumnInputs
from keras_padsafe.proof.doors import Watch
from keras_padsafe.proof.find_reach import ROWS, Part
from keras_padsafe.proof.pools import NotShown, Pair, Pool, pool_of
from keras_padsafe.proof.run_model import run_model

_MANY_ROWS, _BATCHES, _NUMBERS = 64, 16, 1 << 22
_Values = list[np.ndarray | None]


class Sampler:
    """Makes batches for both models.

    The old one is run until every id is one that it has.
    """

    def __init__(self, pair: Pair) -> None:
        self._pair, self._parts = pair, pair.reach.parts
        self._pads = [self._pad(part) for part in self._parts]
        fixed = (one.shape[0] for one in pair.reach.inputs if one.shape[0])
        self._rows = next(fixed, ROWS)
        self._columns = ColumnInputs(pair.reach.inputs, pair.after, pair.change)
        self._pools = self._settled()
        if self._rows == ROWS and self._batches(ROWS) > _BATCHES:
            most = _NUMBERS // max(pair.reach.output_size, 1)
            self._rows = max(ROWS, min(_MANY_ROWS, most))

    @property
    def has_pads(self) -> bool:
        """Whether it is known of any input what stands for padding."""
        return any(pad is not None for pad in self._pads)

    @property
    def feeds_columns(self) -> bool:
        """Whether an input takes a column of each id."""
        return bool(self._columns)

    @property
    def feeds_new_ids(self) -> bool:
        """Whether each part that is asked for takes new ids or words as they are."""
        pair = self._pair
        return all(
            pair.changed_ids(part.direct)
            or any(pair.old[n].kind == "words" for n in part.doors)
            for part, pool in zip(self._parts, self._pools, strict=True)
            if pool and pool.fresh is not None
        )

    @property
    def computed(self) -> str | None:
        """What is to say of an input of which the model computes ids that move."""
        for part, pool in zip(self._parts, self._pools, strict=True):
            if pool and pool.is_computed:
                name = self._pair.reach.inputs[part.input].name
                return (
                    f"the model computes ids from input {name!r}, and the change "
                    "renames ids. Compare the outputs on your own batches."
                )
        return None

    def computed_alone(self, moved: np.ndarray) -> Iterator[tuple[Any, Part]]:
        """Batches in which only ids that the model computes are among those `moved`.

        With the one part that they are computed of; none if there are more, or others
        have to be among them. Its values come to other places each time.
        """
        computed, values = list[tuple[int, np.ndarray]](), _Values()
        for number, pool in enumerate(self._pools):
            one = pool and pool.old
            if pool and pool.is_computed:
                computed.append((number, pool.old))
            elif one is not None:
                is_id = one.dtype.kind in "iu"
                one = one[~np.isin(one, moved)][:1] if is_id else one[:1]
                if not one.size:
                    return
            values.append(one)
        for number, ids in computed if len(computed) == 1 else ():
            part = self._parts[number]
            for turn in range(_BATCHES):
                count = self._rows * len(part.places)
                shift = turn * count + turn // math.ceil(len(ids) / count)
                values[number] = np.roll(ids, -shift)
                yield self._batch(values, 0), part

    def samples(self) -> Iterator[tuple[Any, Any]]:
        """Batches with all old ids, or a few thousand of them, for the two models."""
        old, new = ([p and getattr(p, n) for p in self._pools] for n in ("old", "new"))
        for number in range(min(_BATCHES, self._batches(self._rows))):
            batches = self._batch(old, number), self._batch(new, number)
            yield self._columns.kept(batches[0]), self._columns.widened(batches[1])

    def new_samples(self) -> Iterator[tuple[str, Any]]:
        """What takes new ids or words, and a batch of them.

        All inputs come together, but each that takes words has a batch for itself: a
        word may share the batch with an id that is looked up in its place.

        Raises:
            NotShown: if an input feeds other tables too, which lack them.
        """
        fresh = [pool and pool.fresh for pool in self._pools]
        words: list[tuple[str, _Values]] = []
        for part, values in zip(self._parts, fresh, strict=True):
            name = f"input {self._pair.reach.inputs[part.input].name!r}"
            if values is not None and not len(values):
                raise NotShown(
                    f"{name} feeds other tables or lookups too, which lack the new "
                    "ids or words. Compare the outputs of the new model on your own "
                    "batches"
                )
            if any(self._pair.old[n].kind == "words" for n in part.doors):
                alone = [
                    v if p is part else None
                    for p, v in zip(self._parts, fresh, strict=True)
                ]
                words.append((name, alone))
        for name, chosen in [("all inputs", fresh), *words]:
            if (batch := self._instead(chosen)) is not None:
                yield name, self._columns.widened(batch, new=True)
        if self._columns and not words:
            values = [pool and pool.new for pool in self._pools]
            yield "all inputs", self._columns.widened(self._batch(values, 0), new=True)

    def each_alone(self, *, new: bool, most: int) -> Iterator[tuple[Any, int]]:
        """Batches whose rows differ in one id or word alone, and how many rows count.

        `most` are tried, of those that the `new` model alone knows, or of those of
        both.
        """
        asked = [p if p and p.fresh is not None else None for p in self._pools]
        values = [p and (p.alone if new else p.new) for p in asked]
        values = [None if v is None or not len(v) else v[:most] for v in values]
        count = max((len(v) for v in values if v is not None), default=0)
        for start in range(0, count, self._rows):
            rows = np.arange(start, start + self._rows)
            alone = [v if v is None else v[rows % len(v), None] for v in values]
            batch = self._batch([p and p.new for p in self._pools], 0, alone=alone)
            yield self._columns.widened(batch), min(self._rows, count - start)

    def beyond_samples(self) -> Iterator[Any]:
        """Batches of ids that no table has: those above, and those below."""
        for side in range(2):
            ids = [p.beyond[side] if p and p.beyond else None for p in self._pools]
            batch = self._instead([None if i is None or not i.size else i for i in ids])
            if batch is not None:
                yield batch

    def two_samples(self) -> Iterator[Any]:
        """Two batches of old ids that differ at each place."""
        for turn in range(2):
            values = [p and np.roll(p.old, turn) for p in self._pools]
            yield self._batch(values, 0)

    def rows_of_ids(self, *, padded: bool) -> Any:
        """A batch without what stands for padding, or one that ends in it."""
        values = [
            pool and pool.old[[value != pad for value in pool.old]]
            for pool, pad in zip(self._pools, self._pads, strict=True)
        ]
        return self._batch(values, 0, padded=padded)

    def _instead(self, chosen: _Values) -> Any:
        """A batch of these values; of ordinary ones where there are none."""
        if all(values is None for values in chosen):
            return None
        both = zip(chosen, self._pools, strict=True)
        values = [pool and pool.new if one is None else one for one, pool in both]
        return self._batch(values, 0)

    def _settled(self) -> list[Pool | None]:
        """Leaves out ids of which the old model computes some that a table lacks."""
        over = margins = np.zeros((len(self._parts), 2), int)
        pools: list[Pool | None] = []
        for _ in range(20):
            margins = margins + over
            each = zip(self._parts, margins.tolist(), strict=True)
            pools = [pool_of(self._pair, part, *margin) for part, margin in each]
            doors = self._pair.old
            watch = Watch(doors, instead=[door.size - 1 for door in doors])
            if any(part.derived for part in self._parts):
                with watch.watching():
                    for batch in self._outermost([p and p.old for p in pools]):
                        run_model(self._pair.before, batch)
            over = np.array([self._overshoot(watch, part) for part in self._parts])
            if not over.any():
                break
        return pools

    def _outermost(self, values: _Values) -> Iterator[Any]:
        """Batches with the largest and the smallest id at each place, and others."""
        yield self._batch(values, 0)
        for start in range(0, 2, self._rows):  # They come first.
            rows = np.arange(start, start + self._rows)
            ends = [v if v is None else v[rows % len(v), None] for v in values]
            yield self._batch(values, 0, alone=ends)

    def _overshoot(self, watch: Watch, part: Part) -> tuple[int, int]:
        """By how much the ids made of a part are too small, and too large."""
        under = above = 0
        for number in part.derived:
            size, ids = self._pair.old[number].size, watch.seen(number)
            if size and ids is not None and ids.size:
                under = max(under, -int(ids.min()))
                above = max(above, int(ids.max()) - size + 1)
        return under, above

    def _batches(self, rows: int) -> int:
        """How many batches hold all values."""
        counts = [
            math.ceil(len(pool.old) / (rows * len(part.places)))
            for part, pool in zip(self._parts, self._pools, strict=True)
            if pool
        ]
        return max([1, *counts])

    def _batch(
        self,
        values: _Values,
        number: int,
        *,
        padded: bool = False,
        alone: _Values | None = None,
    ) -> Any:
        import keras

        inputs, rows = self._pair.reach.inputs, self._rows
        generator = np.random.default_rng(number)
        leaves = [np.empty((rows, one.places), one.numpy_dtype) for one in inputs]
        each = zip(
            self._parts, values, self._pads, alone or [None] * len(values), strict=True
        )
        for part, pool, pad, one in each:
            shape = (rows, len(part.places))
            made = self._values(part, pool, shape, number, generator)
            if alone is not None:
                made = np.broadcast_to(made[:1] if one is None else one, shape)
            if padded and pad is not None:
                made = np.where(self._padding(part), pad, made)
            leaves[part.input][:, part.places] = made
        both = zip(leaves, inputs, strict=True)
        shaped = [leaf.reshape(rows, *one.shape[1:]) for leaf, one in both]
        return keras.tree.pack_sequence_as(self._pair.reach.structure, shaped)

    def _values(
        self,
        part: Part,
        pool: np.ndarray | None,
        shape: tuple[int, int],
        number: int,
        generator: np.random.Generator,
    ) -> np.ndarray:
        one, count = self._pair.reach.inputs[part.input], math.prod(shape)
        if pool is None and one.kind == "f":
            return generator.normal(size=shape)
        if pool is None or not len(pool):
            plain = "word" if one.is_text else int(pool is None)
            return np.full(shape, plain, object)
        chosen = pool[np.arange(number * count, (number + 1) * count) % len(pool)]
        doors = [self._pair.old[n] for n in part.doors]
        many = [door.many for door in doors if door.kind == "words"]
        if one.is_text and many and all(many):
            chosen = chosen + " " + chosen[::-1] + " " + np.roll(chosen, 1)
        return chosen.reshape(shape)

    def _pad(self, part: Part) -> float | None:
        """What stands for padding; a mask is False or 0 there."""
        for number in part.direct:
            pad = self._pair.reach.pads.get(number, self._pair.old[number].pad)
            if pad is not None:
                return pad
        is_mask = self._pair.reach.inputs[part.input].kind in "biu"
        return 0 if is_mask and not part.doors else None

    def _padding(self, part: Part) -> np.ndarray:
        """Marks the last steps: none in the first row, all in the last."""
        one = self._pair.reach.inputs[part.input]
        steps = int(one.shape[1] or 1) if len(one.shape) > 1 else 1
        step = part.places // (one.places // steps)
        real = np.round(np.linspace(steps, 0, self._rows)).astype(int)
        return step >= real[:, None]
