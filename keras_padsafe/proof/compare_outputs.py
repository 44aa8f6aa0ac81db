"""Compares what a model gives with what its changed file gives."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from keras_padsafe.proof.id_change import IdChange
from keras_padsafe.saved_model.row_map import RowMap

_SCALE, _FILL = 1e-6, 1e3


class Differs(Exception):
    """Two outputs differ in what cannot be rounding; the message says in what."""


class NotCompared(Exception):
    """Two outputs cannot be laid side by side; the message says why."""


# Two arrays to lay side by side, what shows how large the numbers of the first are, and
# the shares of probability that new ids and spare rows take.
_Reading = tuple[np.ndarray, np.ndarray, np.ndarray, float | None, float | None]


@dataclass(frozen=True)
class Comparison:
    """What comparing outputs has shown.

    Attributes:
        compared: How many numbers or words were compared.
        gap: The largest difference.
        allowed: The difference that another order of sums can make there.
        share: The largest share of probability that new ids take; `None` without a
            head.
        spare: The largest that spare rows take.
    """

    compared: int = 0
    gap: float = 0.0
    allowed: float = 0.0
    share: float | None = None
    spare: float | None = None

    @property
    def agrees(self) -> bool:
        """Whether no difference is larger than rounding."""
        return self.gap <= self.allowed

    def __str__(self) -> str:
        exact = self.gap == 0
        how = "identical to the last bit" if exact else f"differ by {self.gap:.1e}"
        return f"{how} (allowed {self.allowed:.1e})"

    def __add__(self, other: "Comparison") -> "Comparison":
        ratios = [one.gap / max(one.allowed, 1e-300) for one in (self, other)]
        first = (ratios[0], self.allowed) >= (ratios[1], other.allowed)
        worse = self if first else other
        compared = self.compared + other.compared
        share = _larger(self.share, other.share)
        spare = _larger(self.spare, other.spare)
        return replace(worse, compared=compared, share=share, spare=spare)


def _larger(one: float | None, other: float | None) -> float | None:
    return max((x for x in (one, other) if x is not None), default=None)


def compare_outputs(
    old: list[np.ndarray],
    new: list[np.ndarray],
    change: IdChange | None,
    rounding: float,
) -> Comparison:
    """Compares each output of one batch; `change` is how ids changed between them.

    `rounding` is the difference allowed, relative to the largest output.

    Raises:
        Differs: if they differ in more than rounding can.
        NotCompared: if an output has an axis that cannot be matched.
    """
    if len(old) != len(new):
        raise Differs(f"{len(old)} outputs became {len(new)}")
    total = Comparison()
    for before, after in zip(old, new, strict=True):
        total += _compare(before, after, change, rounding)
    return total


def _compare(
    before: np.ndarray, after: np.ndarray, change: IdChange | None, rounding: float
) -> Comparison:
    """What the first reading shows in which the outputs agree, or else the first."""
    found: list[Comparison | Differs] = []
    for reading in _readings(before, after, change):
        try:
            one = _laid_beside(*reading, rounding)
            if one.agrees:
                return one
            found.append(one)
        except Differs as error:
            found.append(error)
    if isinstance(found[0], Differs):
        raise found[0]
    return found[0]


def _readings(
    before: np.ndarray, after: np.ndarray, change: IdChange | None
) -> Iterator[_Reading]:
    """What to lay side by side: outputs as they are, as scores of ids, or as ids."""
    same, how = before.shape == after.shape, f"{before.shape} became {after.shape}"
    if change is None and same:
        yield before, after, before, None, None
        return
    if change is None or before.ndim != after.ndim:
        raise Differs(f"shape {how}")
    old_size, size = change.row_map.old_size, change.row_map.size
    lengths = list(enumerate(before.shape))
    if same and before.dtype.kind == "O":
        # A new word may be likelier than any old one.
        both = [word not in change.words for word in [*before.flat, *after.flat]]
        known = np.all(np.reshape(both, (2, *before.shape)), axis=0)
        yield before[known], after[known], before, None, None
        axes = []
    elif same:
        yield before, after, _without_spare(before, change), None, None
        maps = (change.row_map, *change.partial)
        sizes = {one.size for one in maps if one.size == one.old_size}
        axes = [a for a, n in lengths if a and n in sizes]
    else:
        axes = [a for a, n in lengths if n != after.shape[a]]
        pairs = [(before.shape[a], after.shape[a]) for a in axes]
        fits = len(pairs) == 1 and change.along(*pairs[0]) is not None
        if not fits and [new - old for old, new in pairs] != [size - old_size]:
            raise Differs(f"shape {how}; {old_size} ids became {size}")
    for axis in axes:
        maps = change.all_along(before.shape[axis], after.shape[axis])
        row_map = next(maps, None)
        if row_map is None:
            raise NotCompared(
                f"an output of shape {how}, and it is not known which of the "
                f"{old_size} ids it leaves out"
            )
        for one in (row_map, *maps):
            yield _along(before, after, axis, one, change)
    is_ids = same and before.dtype.kind in "iu"
    if is_ids and before.size and 0 <= before.min() <= before.max() < old_size:
        # Ids, such as the likeliest: a new one may be likelier than any old one.
        old = ~np.isin(after, change.row_map.new_ids)
        renamed = change.renamed(before)[old]
        yield renamed, after[old], renamed, None, None


def _without_spare(before: np.ndarray, change: IdChange) -> np.ndarray:
    axes = [a for a, n in enumerate(before.shape) if a and n == change.row_map.old_size]
    for axis in axes if change.old_spare else ():
        before = np.delete(before, change.old_spare, axis=axis)
    return before


def _along(
    before: np.ndarray,
    after: np.ndarray,
    axis: int,
    row_map: RowMap,
    change: IdChange,
) -> _Reading:
    """The scores of the ids that both have, and the share that new ids take.

    Probabilities are divided by their sum over those ids; a softmax over more ids
    changes them by that factor alone.
    """
    before, after = np.moveaxis(before, axis, -1), np.moveaxis(after, axis, -1)
    (new, old), added = row_map.kept, row_map.new_ids
    was, is_now = before[..., old], after[..., new]
    if before.dtype.kind != "f":
        return was, is_now, was, None, None
    whole = after.shape[-1] == change.row_map.size
    spare = np.asarray(change.spare if whole else (), np.int64)
    for scores in (lambda x: x, np.exp):
        with np.errstate(over="ignore"):
            p, q = scores(before.astype("f8")), scores(after.astype("f8"))
        if _sums_to_one(p) and _sums_to_one(q):
            was, is_now = _divided(p[..., old]), _divided(q[..., new])
            return was, is_now, was, _share(q, added), _share(q, spare)
    with np.errstate(invalid="ignore"):
        q = np.exp(after.astype("f8") - after.max(-1, keepdims=True))
        q = q / q.sum(-1, keepdims=True)
    beaten = (after >= 0).all() and not after[..., spare].any()
    real = before[..., np.setdiff1d(old, change.old_spare if whole else ())]
    return was, is_now, real, _share(q, added), _share(0 * q if beaten else q, spare)


def _share(probabilities: np.ndarray, added: np.ndarray) -> float | None:
    shares = probabilities[..., added].sum(-1)
    shares = shares[np.isfinite(shares)]
    return float(shares.max()) if len(added) and shares.size else None


def _sums_to_one(values: np.ndarray) -> bool:
    finite = np.isfinite(sums := values.sum(-1))
    positive = finite.any() and (values[finite] >= 0).all()
    return bool(positive and np.allclose(sums[finite], 1.0, atol=1e-2))


def _divided(values: np.ndarray) -> np.ndarray:
    return values / np.maximum(values.sum(-1, keepdims=True), 1e-30)


def _laid_beside(
    before: np.ndarray,
    after: np.ndarray,
    scores: np.ndarray,
    share: float | None,
    spare: float | None,
    rounding: float,
) -> Comparison:
    if before.dtype.kind == "O" or after.dtype.kind == "O":
        if not np.array_equal(before, after):
            raise Differs("other words than before")
        return Comparison(compared=before.size)
    before, after = before.astype("f8"), after.astype("f8")
    finite = np.isfinite(before)
    # A number that fills a place, as for masked scores, says nothing of rounding.
    fills = before[finite & (before == after) & (np.abs(before) >= _FILL)]
    scores = scores[np.isfinite(scores)].astype("f8")
    scores = scores[~np.isin(scores, np.unique(fills))]
    if not np.isfinite(after[finite]).all():
        raise Differs("NaN or infinite where it was finite")
    if not np.array_equal(before[~finite], after[~finite], equal_nan=True):
        raise Differs("another value where it was NaN or infinite")
    gap = float(np.abs(after[finite] - before[finite]).max(initial=0.0))
    allowed = rounding * max(float(np.abs(scores).max(initial=0.0)), _SCALE)
    count = int(finite.sum())
    return Comparison(count, gap, allowed, share, spare)
