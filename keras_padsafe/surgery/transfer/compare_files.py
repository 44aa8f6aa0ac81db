"""Compares a file and its surgery byte by byte, without Keras."""

import copy
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from keras_padsafe.archive import Archive, StoredArray, decode, new_documents
from keras_padsafe.errors import ArchiveError, SurgeryError
from keras_padsafe.proof.bits import bits
from keras_padsafe.proof.certificate import Check, few
from keras_padsafe.saved_model.config_path import (
    ConfigPath,
    config_key,
    walk_values,
)
from keras_padsafe.saved_model.row_map import RowMap
from keras_padsafe.surgery.planning.changes import ArrayChange
from keras_padsafe.surgery.planning.plan import Plan
from keras_padsafe.surgery.transfer.compare_new import differing_new
from keras_padsafe.surgery.transfer.entries_of import entries_of, rows_at_once
from keras_padsafe.surgery.transfer.transfer import new_assets, new_config

_SHARED_BY_CHANCE = frozenset(("dtype", "quantization_config"))


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
        _new_rows(plan, source, target),
        _check("other arrays identical", _differing_others(plan, source, target)),
        _check("configuration as planned", _differing_config(plan, source, target)),
    ]


def _new_rows(plan: Plan, source: Archive, target: Archive) -> Check:
    found = _check("new rows as planned", differing_new(plan, source, target))
    if found.status == "failed" or plan.spells_rows:
        return found
    detail = (
        "the file does not hold which rows were given. Pass the plan: "
        "plan=Plan.load(FILE) (--plan FILE), as plan --save writes it"
    )
    return replace(found, status="skipped", detail=detail, value=None)


def _check(name: str, found: Iterable[str | None]) -> Check:
    """A check over many places: each gives a problem, or `None`."""
    results = list(found)
    problems = [problem for problem in results if problem]
    if problems:
        return Check(name, "failed", few(problems), float(len(problems)))
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
    axis, (new, old) = change.axis, row_map.kept
    most = min(rows_at_once(before), rows_at_once(after))
    lengths = (row_map.old_size, row_map.size) if change.is_packed else (None, None)
    both = zip(
        entries_of(before, axis, old, most, lengths[0]),
        entries_of(after, axis, new, most, lengths[1]),
        strict=True,
    )
    return sum(int((bits(was) != bits(is_now)).sum()) for was, is_now in both)


def _not_finite(plan: Plan, target: Archive) -> Iterator[str | None]:
    for change in plan.arrays:
        new_ids = change.own(plan.row_map).new_ids
        if change.quantised is not None:  # Whole numbers are finite.
            yield None
            continue
        array = target.arrays.get(change.path)
        if array is None or array.shape != change.new_shape or not new_ids.size:
            continue
        made = entries_of(array, change.axis, new_ids, rows_at_once(array))
        finite = all(np.isfinite(decode(one, array.dtype)).all() for one in made)
        yield None if finite else f"{change.path}: new entries are NaN or infinite"


def _differing_others(
    plan: Plan, source: Archive, target: Archive
) -> Iterator[str | None]:
    changed = {change.path for change in plan.arrays}
    dropped = "optimizer/" if plan.optimizer == "drop" else None
    for path, before in source.arrays.items():
        if path in changed:
            continue
        if dropped and path.startswith(dropped):
            if path in target.arrays:
                yield f"{path}: was to be dropped"
            continue
        after = target.arrays.get(path)
        if after is None or (after.shape, after.dtype) != (before.shape, before.dtype):
            yield f"{path}: expected unchanged"
        else:
            yield None if _same_bytes(before, after) else f"{path}: bytes differ"
    for path in target.arrays.keys() - source.arrays.keys():
        yield f"{path}: was not there before"


def _same_bytes(before: StoredArray, after: StoredArray) -> bool:
    if not before.shape or not before.nbytes:
        return np.array_equal(bits(before.read()), bits(after.read()))
    rows, most = np.arange(before.shape[0]), rows_at_once(before)
    both = zip(
        entries_of(before, 0, rows, most), entries_of(after, 0, rows, most), strict=True
    )
    return all(np.array_equal(bits(was), bits(is_now)) for was, is_now in both)


def _renumbered(config: Any) -> Any:
    """A copy whose shared objects are numbered as they come: Keras draws numbers."""
    config, numbers = copy.deepcopy(config), dict[Any, int]()
    for path, value in walk_values(config):
        if isinstance(value, dict) and "shared_object_id" in value:
            drawn = value.pop("shared_object_id")
            if _SHARED_BY_CHANCE.isdisjoint(path):
                value["shared_object_id"] = numbers.setdefault(drawn, len(numbers))
    return config


def _leaves(config: Any) -> dict[ConfigPath, Any]:
    """Every value of a configuration that holds no others."""
    every = walk_values(config)
    return {p: one for p, one in every if not (one and isinstance(one, dict | list))}


def _same(one: Any, other: Any) -> bool:
    return one == other or (one != one and other != other)  # NaN is not itself.


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
    due, given = (_leaves(_renumbered(one)) for one in (expected, target.config))
    unlike = (p for p in due | given if not _same(due.get(p, ...), given.get(p, ...)))
    yield next(
        (f"config.json differs from the plan at {config_key(p)}" for p in unlike), None
    )
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
