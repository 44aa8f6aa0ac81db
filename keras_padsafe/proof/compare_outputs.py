"""Compares what a model gives with what its changed file gives."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_padsafe.proof.id_change import IdChange, kept_of

_SCALE = 1e-6


class Differs(Exception):
    """Two outputs differ in what cannot be rounding; the message says in what."""


class NotCompared(Exception):
    """Two outputs cannot be laid side by side; the message says why."""


@dataclass(frozen=True)
class Comparison:
    """What comparing outputs has shown.

    Attributes:
        compared: How many numbers or words were compared.
        gap: The largest difference.
        allowed: The difference that another order of sums can make there.
        share: The largest share of probability that new ids take; `None` without a
            head.
    """

    compared: int = 0
    gap: float = 0.0
    allowed: float = 0.0
    share: float | None = None

    @property
    def agrees(self) -> bool:
        """Whether no difference is larger than rounding."""
        return self.gap <= self.allowed

    def __str__(self) -> str:
        exact = self.gap == 0
        how = "identical to the last bit" if exact else f"differ by {self.gap:.1e}"
        return f"{how} (allowed {self.allowed:.1e})"

    @property
    def _ratio(self) -> float:
        return self.gap / max(self.allowed, 1e-300)

    def __add__(self, other: "Comparison") -> "Comparison":
        shares = [s for s in (self.share, other.share) if s is not None]
        worse = max(self, other, key=lambda one: (one._ratio, one.allowed))
        return Comparison(
            self.compared + other.compared,
            worse.gap,
            worse.allowed,
            max(shares, default=None),
        )


def compare_outputs(
    old: list[np.ndarray],
    new: list[np.ndarray],
    change: IdChange | None,
    rounding: float,
) -> Comparison:
    """Compares each output of one batch.

    Args:
        old: The outputs before.
        new: The outputs after.
        change: How ids changed between them, which a head shows as an axis.
        rounding: The difference allowed, relative to the largest output.

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
    if before.shape != after.shape:
        if change is None:
            raise Differs(f"shape {before.shape} became {after.shape}")
        return _along(
            before, after, _grown_axis(before, after, change), change, rounding
        )
    try:
        plain = _laid_beside(before, after, rounding)
    except Differs as error:
        plain = error
    if isinstance(plain, Comparison) and plain.agrees:
        return plain
    for other in _reordered(before, after, change, rounding):
        if other.agrees:
            return other
    if isinstance(plain, Differs):
        raise plain
    return plain


def _reordered(
    before: np.ndarray, after: np.ndarray, change: IdChange | None, rounding: float
) -> Any:
    """The same outputs, taken for scores of ids or for ids, in their new order."""
    if change is None:
        return
    for axis, size in enumerate(before.shape):
        if axis and size == change.old_size == change.new_size:
            try:
                yield _along(before, after, axis, change, rounding)
            except Differs:
                continue
    is_ids = before.dtype.kind in "iu" and after.dtype.kind in "iu"
    if is_ids and before.size and 0 <= before.min() <= before.max() < change.old_size:
        # Ids, such as the likeliest: a new one may be likelier than any old one.
        old = ~np.isin(after, change.new_ids)
        if (change.renamed(before)[old] == after[old]).all():
            yield Comparison(compared=int(old.sum()))


def _grown_axis(before: np.ndarray, after: np.ndarray, change: IdChange) -> int:
    changed = [
        axis
        for axis in range(min(before.ndim, after.ndim))
        if before.shape[axis] != after.shape[axis]
    ]
    if before.ndim != after.ndim or len(changed) != 1:
        raise Differs(f"shape {before.shape} became {after.shape}")
    (axis,) = changed
    if after.shape[axis] - before.shape[axis] != change.new_size - change.old_size:
        raise Differs(
            f"shape {before.shape} became {after.shape}; {change.old_size} ids became "
            f"{change.new_size}"
        )
    return axis


def _along(
    before: np.ndarray, after: np.ndarray, axis: int, change: IdChange, rounding: float
) -> Comparison:
    """Compares the scores of the ids that both have."""
    ids = change.along(before.shape[axis], after.shape[axis])
    if ids is None:
        raise NotCompared(
            f"an output of shape {before.shape} became {after.shape}, and which of the "
            f"{change.old_size} ids it leaves out is not known"
        )
    if before.dtype.kind != "f":
        new, old = kept_of(ids)
        return _laid_beside(before.take(old, axis), after.take(new, axis), rounding)
    was, kept, share = _aligned(
        np.moveaxis(before, axis, -1), np.moveaxis(after, axis, -1), ids
    )
    found = _laid_beside(was, kept, rounding)
    return Comparison(found.compared, found.gap, found.allowed, share)


def _aligned(
    before: np.ndarray, after: np.ndarray, ids: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float | None]:
    """The scores of the ids that both have, and the share that new ids take.

    Probabilities are divided by their sum over those ids; a softmax over more ids
    changes them by that factor alone.
    """
    new, old = kept_of(ids)
    added = np.flatnonzero(ids < 0)
    for scores in (lambda x: x, np.exp):
        with np.errstate(over="ignore"):
            p, q = scores(before.astype("f8")), scores(after.astype("f8"))
        if _sums_to_one(p) and _sums_to_one(q):
            p, q, share = p[..., old], q[..., new], _share(q, added)
            return _divided(p), _divided(q), share
    with np.errstate(invalid="ignore"):
        q = np.exp(after.astype("f8") - after.max(-1, keepdims=True))
        share = _share(q / q.sum(-1, keepdims=True), added)
    return before[..., old], after[..., new], share


def _share(probabilities: np.ndarray, added: np.ndarray) -> float | None:
    shares = probabilities[..., added].sum(-1)
    shares = shares[np.isfinite(shares)]
    return float(shares.max()) if len(added) and shares.size else None


def _sums_to_one(values: np.ndarray) -> bool:
    sums = values.sum(-1)
    finite = np.isfinite(sums)
    return bool(
        finite.any()
        and (values[finite] >= 0).all()
        and np.allclose(sums[finite], 1.0, atol=1e-2)
    )


def _divided(values: np.ndarray) -> np.ndarray:
    return values / np.maximum(values.sum(-1, keepdims=True), 1e-30)


def _laid_beside(before: np.ndarray, after: np.ndarray, rounding: float) -> Comparison:
    if before.dtype.kind == "O" or after.dtype.kind == "O":
        if not np.array_equal(before, after):
            raise Differs("other words than before")
        return Comparison(compared=before.size)
    before, after = before.astype("f8"), after.astype("f8")
    finite = np.isfinite(before)
    if not np.isfinite(after[finite]).all():
        raise Differs("NaN or infinite where it was finite")
    if not np.array_equal(before[~finite], after[~finite], equal_nan=True):
        raise Differs("another value where it was NaN or infinite")
    gap = float(np.abs(after[finite] - before[finite]).max(initial=0.0))
    scale = float(np.abs(before[finite]).max(initial=0.0))
    return Comparison(int(finite.sum()), gap, rounding * max(scale, _SCALE))
