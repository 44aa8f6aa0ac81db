"""Compares a file and its surgery byte by byte, without Keras."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from keras_padsafe.archive import Archive, StoredArray, decode, new_documents
from keras_padsafe.errors import ArchiveError, SurgeryError
from keras_padsafe.proof.bits import bits
from keras_padsafe.proof.certificate import Check
from keras_padsafe.surgery.planning.changes import ArrayChange
from keras_padsafe.surgery.planning.plan import Plan
from keras_padsafe.surgery.planning.quantise import unpacked
from keras_padsafe.surgery.planning.row_map import RowMap
from keras_padsafe.surgery.transfer.transfer import new_assets, new_config

_BLOCK_BYTES = 1 << 22


def compare_files(plan: Plan, source: Archive, target: Archive) -> list[Check]:
    """Shows that `target` is `source` changed by `plan` and by nothing else."""
    kept = _check("kept rows identical", _differing_kept(plan, source, target))
    if kept.status == "passed":
        count = len(plan.row_map.kept[0])
        status = "passed" if count else "does not apply"
        detail = f"{count} ids in {kept.detail.replace('compared', 'arrays')}"
        kept = Check(kept.name, status, detail, kept.value)
    return [
        kept,
        _check("new rows finite", _not_finite(plan, target)),
        _check("other arrays identical", _differing_others(plan, source, target)),
        _check("configuration as planned", _differing_config(plan, source, target)),
    ]


def _check(name: str, found: Iterable[str | None]) -> Check:
    """A check over many places: each gives a problem, or `None`."""
    results = list(found)
    problems = [problem for problem in results if problem]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        listed = "; ".join(problems[:3])
        return Check(name, "failed", f"{listed}{more}", float(len(problems)))
    return Check(name, "passed", f"{len(results)} compared", 0.0)


def _differing_kept(
    plan: Plan, source: Archive, target: Archive
) -> Iterator[str | None]:
    for change in plan.arrays:
        before = source.arrays.get(change.path)
        after = target.arrays.get(change.path)
        if before is None or after is None:
            yield f"{change.path}: missing"
        elif (before.shape, after.shape) != (change.shape, change.new_shape):
            yield (
                f"{change.path}: expected {change.shape} to become "
                f"{change.new_shape}, received {before.shape} and {after.shape}"
            )
        elif before.dtype != after.dtype:
            yield f"{change.path}: {before.dtype} became {after.dtype}"
        else:
            count = _differing_entries(before, after, change, change.own(plan.row_map))
            yield f"{change.path}: {count} kept entries differ" if count else None


def _differing_entries(
    before: StoredArray, after: StoredArray, change: ArrayChange, row_map: RowMap
) -> int:
    new, old = row_map.kept
    if change.axis == 0:
        # Row by row in the order of the new ids; stretches are read as blocks.
        return sum(
            int((bits(after.read(n, n + c)) != bits(before.read(o, o + c))).sum())
            for n, o, c in _stretches(new, old, _rows_at_once(before))
        )
    differing = 0
    for start, stop in _blocks(before):
        rows, made = before.read(start, stop), after.read(start, stop)
        if change.is_packed:
            rows = unpacked(rows, change.axis, row_map.old_size)
            made = unpacked(made, change.axis, row_map.size)
        kept_before = np.take(rows, old, axis=change.axis)
        kept_after = np.take(made, new, axis=change.axis)
        differing += int((bits(kept_before) != bits(kept_after)).sum())
    return differing


def _stretches(
    new: np.ndarray, old: np.ndarray, most: int
) -> Iterator[tuple[int, int, int]]:
    """Runs of ids that follow one another on both sides, at most `most` long."""
    if not len(new):
        return
    breaks = np.flatnonzero((np.diff(new) != 1) | (np.diff(old) != 1)) + 1
    for start, stop in zip([0, *breaks], [*breaks, len(new)], strict=True):
        for at in range(start, stop, most):
            count = min(most, stop - at)
            yield int(new[at]), int(old[at]), int(count)


def _rows_at_once(array: StoredArray) -> int:
    row = array.nbytes // max(array.shape[0], 1)
    return max(1, _BLOCK_BYTES // max(row, 1))


def _blocks(array: StoredArray) -> Iterator[tuple[int, int]]:
    """The first axis in stretches that fit into memory."""
    step = _rows_at_once(array)
    for start in range(0, array.shape[0], step):
        yield start, min(start + step, array.shape[0])


def _not_finite(plan: Plan, target: Archive) -> Iterator[str | None]:
    for change in plan.arrays:
        new_ids = change.own(plan.row_map).new_ids
        if change.quantised is not None:  # Whole numbers are finite.
            yield None
            continue
        array = target.arrays.get(change.path)
        if array is None or array.shape != change.new_shape or not new_ids.size:
            continue
        yield (
            None
            if _finite(array, change.axis, new_ids)
            else f"{change.path}: new entries are NaN or infinite"
        )


def _finite(array: StoredArray, axis: int, ids: np.ndarray) -> bool:
    if axis == 0:
        found = (
            array.read(start, start + count)
            for start, _, count in _stretches(ids, ids, _rows_at_once(array))
        )
    else:
        found = (np.take(array.read(*at), ids, axis=axis) for at in _blocks(array))
    return all(np.isfinite(decode(values, array.dtype)).all() for values in found)


def _differing_others(
    plan: Plan, source: Archive, target: Archive
) -> Iterator[str | None]:
    changed = {change.path for change in plan.arrays}
    dropped = "optimizer/" if plan.optimizer == "drop" else None
    for path, before in source.arrays.items():
        if path in changed or (dropped and path.startswith(dropped)):
            continue
        after = target.arrays.get(path)
        if after is None or (after.shape, after.dtype) != (before.shape, before.dtype):
            yield f"{path}: expected unchanged"
        else:
            yield None if _same_bytes(before, after) else f"{path}: bytes differ"
    for path in target.arrays.keys() - source.arrays.keys():
        yield f"{path}: was not there before"


def _same_bytes(before: StoredArray, after: StoredArray) -> bool:
    whole = not before.shape or not before.nbytes
    return all(
        np.array_equal(bits(before.read(*at)), bits(after.read(*at)))
        for at in ([()] if whole else _blocks(before))
    )


def _differing_config(
    plan: Plan, source: Archive, target: Archive
) -> Iterator[str | None]:
    try:
        expected: dict[str, Any] = new_config(plan, source)
        words = new_assets(plan, source)
        documents = new_documents(source, expected)
    except (ArchiveError, SurgeryError) as error:
        yield str(error)
        return
    yield None if target.config == expected else "config.json differs from the plan"
    for document in target.contents.documents:
        agrees = documents.get(document.name) == document.data
        yield None if agrees else f"{document.name} differs from the plan"
    for name in target.assets.keys() - source.assets.keys():
        yield f"{name}: was not there before"
    for name, asset in source.assets.items():
        wanted = words.get(name)
        after = target.assets.get(name)
        if after is None:
            yield f"{name}: missing"
        elif after.read() != (asset.read() if wanted is None else wanted):
            yield f"{name}: differs from the plan"
        else:
            yield None
