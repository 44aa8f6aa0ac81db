"""The new contents of an array, piece by piece, in bounded memory."""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice

import numpy as np

from keras_padsafe.archive import Archive, Span
from keras_padsafe.facts.spare_words import LOW_SCORE
from keras_padsafe.saved_model.row_map import NEW
from keras_padsafe.surgery.planning.changes import ArrayChange
from keras_padsafe.surgery.planning.column_statistics import Weight
from keras_padsafe.surgery.planning.entries import Entries
from keras_padsafe.surgery.planning.new_rows import NewRows
from keras_padsafe.surgery.planning.plan import Plan
from keras_padsafe.surgery.planning.quantise import packed
from keras_padsafe.surgery.planning.quantised_entries import QuantisedEntries
from keras_padsafe.surgery.planning.real_numbers import RealNumbers

_Blocks = Callable[[int, int, int], Iterator[bytes]]
"""Makes new entries: at which place before the axis of ids, from which on, how many."""
_Seen = Callable[[int, memoryview], None]
"""Is told the stored bytes of the array while they are copied, and where they begin."""


def pieces(change: ArrayChange, plan: Plan, source: Archive) -> Iterator[Span | bytes]:
    """The new array in the order of its bytes: old stretches and new entries."""
    if change.is_packed:
        yield from _repacked(change, plan, source)
        return
    runs = list(change.own(plan.row_map).runs())
    new = sum(count for old, count in runs if old == NEW)
    blocks, seen = _blocks(change, plan, source) if new else ([], None)
    each = new // max(len(change.starts), 1)
    lead = math.prod(change.shape[: change.axis])
    ids = change.shape[change.axis]
    width = source.arrays[change.path].nbytes // max(lead * ids, 1)
    for index in range(lead):
        made = 0
        for old, count in runs:
            if old != NEW:
                start = (index * ids + old) * width
                yield Span(start, start + count * width, seen)
                continue
            end = made + count
            while made < end:
                stretch, first = divmod(made, each)
                some = min(end - made, each - first)
                yield from blocks[stretch](index, first, some)
                made += some


def _repacked(change: ArrayChange, plan: Plan, source: Archive) -> Iterator[bytes]:
    """Rows in which two ids share a byte, each read, changed and packed again."""
    made, own = _quantised(change, plan, source)[0], change.own(plan.row_map)
    kept_new, kept_old = own.kept
    for index in range(made.weight.shape[0]):
        whole = np.zeros(own.size, np.int8)
        whole[kept_new] = made.weight.whole(index, index + 1)[0, kept_old]
        if made.count:
            whole[own.new_ids] = made.at(index)
        yield packed(whole, 0).tobytes()


def _blocks(
    change: ArrayChange, plan: Plan, source: Archive
) -> tuple[list[_Blocks], _Seen | None]:
    """What makes the new entries of each stretch over the ids, and looks at the old."""
    if change.fill in ("scale", "zero"):
        whole = next(c for c in plan.arrays if c.path == change.like)
        made = _quantised(whole, plan, source)[0]
        return [partial(made.blocks_of_scales, change)], None
    if change.quantised is not None:
        return [made.blocks for made in _quantised(change, plan, source)], None
    weight = source.arrays[change.like or change.path]
    entries = [*map(_maker(change, plan, weight), change.starts or (0,))]
    statistics = [e.statistics for e in entries if e.statistics is not None]
    ends = [its.span[1] for its in statistics]  # as ordered as the stretches are

    def seen(offset: int, data: memoryview) -> None:
        for its in islice(statistics, bisect_right(ends, offset), None):
            if its.span[0] >= offset + len(data):
                break
            its.see(offset, data)

    own = weight.path == change.path
    return [e.blocks for e in entries], seen if statistics and own else None


def _quantised(
    change: ArrayChange, plan: Plan, source: Archive
) -> list[QuantisedEntries]:
    assert change.quantised is not None
    weight = RealNumbers(source, change.path, change.axis, change.quantised)
    count = len(plan.row_map.without(change.skips, change.new_skips).new_ids)
    make = _maker(change, plan, weight)
    return [
        QuantisedEntries(
            partial(make, start),
            weight,
            change.axis,
            change.quantised,
            count,
        )
        for start in change.starts or (0,)
    ]


def _maker(change: ArrayChange, plan: Plan, weight: Weight) -> Callable[[int], Entries]:
    """Makes what makes the entries of new ids, of a stretch that begins somewhere.

    Those of spare rows take no part in others.
    """
    its = next(c for c in plan.arrays if c.path == weight.path)
    skips = np.asarray(its.skips, np.int64)
    spare = np.setdiff1d(np.asarray(plan.old_spare_ids, np.int64), skips)
    new = np.setdiff1d(plan.row_map.new_ids, change.new_skips)
    is_spare, new_rows = np.isin(new, plan.spare_ids), plan.new_rows
    if isinstance(change.fill, int | float):  # All start with the same.
        is_spare[:] = False
        new_rows = NewRows("constant", value=float(change.fill))
    places, left_out = np.flatnonzero(is_spare), spare - np.searchsorted(skips, spare)
    size = weight.shape[change.axis]
    return lambda start: Entries(
        new_rows,
        weight,
        change.axis,
        start,
        plan.old_size - len(change.skips) if change.starts else size,
        change.dtype,
        takes_mean=change.fill in ("bias", "mean"),
        spare_value=LOW_SCORE if change.fill == "bias" else 0.0,
        spare=places,
        left_out=left_out,
    )
