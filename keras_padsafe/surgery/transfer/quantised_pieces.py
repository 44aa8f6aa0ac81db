"""The new contents of a quantised array and of its scales, piece by piece."""

import math
from collections.abc import Iterator

import numpy as np

from keras_padsafe.archive import Archive, Span, encode
from keras_padsafe.surgery.planning.changes import ArrayChange
from keras_padsafe.surgery.planning.entries import Entries
from keras_padsafe.surgery.planning.plan import Plan
from keras_padsafe.surgery.planning.quantise import packed
from keras_padsafe.surgery.planning.quantised_entries import QuantisedEntries
from keras_padsafe.surgery.planning.real_numbers import RealNumbers
from keras_padsafe.surgery.planning.row_map import NEW, RowMap, Run
from keras_padsafe.surgery.planning.spare_places import spare_places


def quantised_pieces(
    change: ArrayChange, plan: Plan, source: Archive
) -> Iterator[Span | bytes]:
    """The whole numbers in the order of their bytes: old stretches and new entries."""
    how = change.quantised
    assert how is not None
    weight = RealNumbers(source, change.path, change.axis, how)
    own = change.own(plan.row_map)
    made = _Made(change, plan, weight)
    if change.is_packed:
        yield from _repacked(weight, own, made)
    elif change.axis == 0:
        yield from _rows(change, source, own, made)
    else:
        yield from _columns(change, source, own, made)


def scale_pieces(
    change: ArrayChange, plan: Plan, source: Archive
) -> Iterator[Span | bytes]:
    """Scales, or zeros, in the order of their bytes."""
    whole = next(c for c in plan.arrays if c.path == change.like)
    assert whole.quantised is not None
    weight = RealNumbers(source, whole.path, whole.axis, whole.quantised)
    made, own = _Made(whole, plan, weight), change.own(plan.row_map)
    lead = math.prod(change.shape[: change.axis])
    new = None
    if made.count:
        scale, zero = made.entries.scales
        chosen = scale if change.fill == "scale" or zero is None else zero
        # Of ids that come first, all groups follow; else a group is a lead.
        new = encode(
            chosen[None] if change.axis == 0 else chosen.T[:, :, None], change.dtype
        )
    array = source.arrays[change.path]
    yield from _spread(array.nbytes, lead, change.shape[change.axis], own, new)


class _Made:
    """What makes the new entries of one quantised array."""

    def __init__(self, change: ArrayChange, plan: Plan, weight: RealNumbers) -> None:
        self._change, self._plan, self._weight = change, plan, weight
        self.stretches = change.starts or (0,)
        row_map = plan.row_map.without(change.skips, change.new_skips)
        self.count, self._size = len(row_map.new_ids), row_map.old_size
        how = change.quantised
        assert how is not None
        self.entries = QuantisedEntries(self.real, weight, change.axis, how, self.count)

    def real(self, start: int = 0) -> Entries:
        """What makes the real numbers of one stretch over the ids."""
        change = self._change
        return Entries(
            self._plan.rows_of(change),
            self._weight,
            change.axis,
            start,
            self._size,
            self._weight.dtype,
            is_bias=False,
            **spare_places(change, change, self._plan),
        )


def _rows(
    change: ArrayChange, source: Archive, own: RowMap, made: _Made
) -> Iterator[Span | bytes]:
    array, how = source.arrays[change.path], change.quantised
    width = array.nbytes // max(change.shape[0], 1)
    real = [made.real(start) for start in made.stretches] if made.count else []
    done = 0
    for run in own.runs():
        if run.old != NEW:
            yield Span(run.old * width, (run.old + run.count) * width)
            continue
        end = done + run.count
        while done < end:
            stretch, first = divmod(done, made.count)
            count = min(end - done, made.count - first)
            for whole in made.entries.rows(real[stretch], first, count):
                is_packed = how is not None and how.packed is not None
                yield (packed(whole, 1) if is_packed else whole).tobytes()
            done += count


def _columns(
    change: ArrayChange, source: Archive, own: RowMap, made: _Made
) -> Iterator[Span | bytes]:
    array, how = source.arrays[change.path], change.quantised
    assert how is not None
    lead, ids = math.prod(change.shape[: change.axis]), change.shape[change.axis]
    real = made.real() if made.count else None
    runs = list(own.runs())
    for index in range(lead):
        new = None
        if real is not None:
            places = [index] if how.packed is None else [2 * index, 2 * index + 1]
            halves = [
                made.entries.row(real, place)
                for place in places
                if how.packed is None or place < how.length
            ]
            new = halves[0] if how.packed is None else packed(np.stack(halves), 0)[0]
        yield from _one(runs, index * ids, array.nbytes // max(lead * ids, 1), new)


def _repacked(weight: RealNumbers, own: RowMap, made: _Made) -> Iterator[bytes]:
    """Rows in which two ids share a byte, each read, changed and packed again."""
    real = made.real() if made.count else None
    kept_new, kept_old = own.kept
    for index in range(weight.shape[0]):
        whole = np.zeros(own.size, np.int8)
        whole[kept_new] = weight.whole(index, index + 1)[0, kept_old]
        if real is not None:
            whole[own.new_ids] = made.entries.row(real, index)
        yield packed(whole, 0).tobytes()


def _spread(
    nbytes: int, lead: int, ids: int, own: RowMap, new: np.ndarray | None
) -> Iterator[Span | bytes]:
    runs = list(own.runs())
    for index in range(lead):
        entries = None if new is None else new[index]
        yield from _one(runs, index * ids, nbytes // max(lead * ids, 1), entries)


def _one(
    runs: list[Run], first: int, width: int, new: np.ndarray | None
) -> Iterator[Span | bytes]:
    """The entries at one place along the axes before that of the ids."""
    made = 0
    for run in runs:
        if run.old != NEW:
            start = (first + run.old) * width
            yield Span(start, start + run.count * width)
        elif new is not None:
            yield new[made : made + run.count].tobytes()
            made += run.count
