"""Carries a plan out: archive -> archive, array by array, in bounded memory."""

import copy
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from keras_padsafe.archive import Archive, NewArray, write_archive
from keras_padsafe.errors import SurgeryError
from keras_padsafe.saved_model.config_path import ConfigPath, config_key
from keras_padsafe.surgery.finding.word_files import word_file
from keras_padsafe.surgery.planning.plan import Plan, WordsChange
from keras_padsafe.surgery.planning.row_map import NEW, RowMap
from keras_padsafe.surgery.transfer.pieces import pieces
from keras_padsafe.version import __version__

PROVENANCE = "keras_padsafe"


def transfer(
    plan: Plan,
    source: Archive,
    target: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
    accept: Callable[[Path], None] | None = None,
) -> None:
    """Writes `source`, changed by `plan`, to `target`.

    `accept` is called with the file before it gets its name; its error leaves none.

    Raises:
        SurgeryError: if the plan was not made for a file like `source`.
        ArchiveError: if the file cannot be read or written. Either way nothing was
            written.
    """
    check_arrays(plan, source)
    config, assets = new_config(plan, source), new_assets(plan, source)
    provenance = {"version": __version__, "plan": plan.to_json(with_rows=False)}
    write_archive(
        target,
        source,
        config=config,
        metadata={**source.metadata, PROVENANCE: provenance},
        assets=assets,
        arrays={
            c.path: NewArray(c.new_shape, partial(pieces, c, plan, source))
            for c in plan.arrays
        },
        drop=[
            g for g in ("optimizer",) if plan.optimizer == "drop" and g in source.groups
        ],
        overwrite=overwrite,
        progress=progress,
        accept=accept,
    )


def check_arrays(plan: Plan, source: Archive) -> None:
    """Raises `SurgeryError` unless a file has the arrays that a plan changes."""
    for change in plan.arrays:
        array = source.arrays.get(change.path)
        if array is None or (array.shape, array.dtype) != (change.shape, change.dtype):
            received = f"{array.dtype} of shape {array.shape}" if array else "none"
            raise SurgeryError(
                f"{source.path}: the plan does not fit this file. Array {change.path}: "
                f"expected {change.dtype} of shape {change.shape}, received "
                f"{received}. Make a plan for this file."
            )


def new_config(plan: Plan, source: Archive) -> dict[str, Any]:
    """The config.json that the plan makes of the source's."""
    if source.config is None:
        raise SurgeryError(f"{source.path}: the file holds no config.json.")
    config = {**source.config}
    own = {id(config)}
    for change in plan.config:
        holder = _find(config, change.path[:-1], source, own)
        key = change.path[-1]
        is_left_out = change.old is None and isinstance(holder, dict)
        if not _has(holder, key) and not is_left_out:
            raise SurgeryError(
                f"{source.path}: the plan does not fit this file. config.json has no "
                f"{config_key(change.path)}. Make a plan for this file."
            )
        if change.old is not None and _get(holder, key) != change.old:
            raise SurgeryError(
                f"{source.path}: the plan does not fit this file. "
                f"{config_key(change.path)}: expected {change.old!r}, received "
                f"{_get(holder, key)!r}. Make a plan for this file."
            )
        holder[key] = copy.deepcopy(change.new)
    for change in plan.words:
        weights = replace(change, added=(change.weight,) * len(change.added))
        for path, like in (
            (change.config_path, change),
            (change.weights_path, weights),
        ):
            if path is not None:
                holder = _find(config, path[:-1], source, own)
                words = _get(holder, path[-1])
                if not isinstance(words, list):
                    raise SurgeryError(
                        f"{source.path}: the plan does not fit this file. Layer "
                        f"{change.layer!r}: {config_key(path)} lists no words. Make a "
                        "plan for this file."
                    )
                holder[path[-1]] = _new_words(like, list(words), plan.row_map)
    return config


def _find(config: Any, path: ConfigPath, source: Archive, own: set[int]) -> Any:
    """What lies there, as the new config.json's own; `own` has what is already."""
    for key in path:
        around: Any = config
        config = _get(config, key)
        if not isinstance(config, dict | list):
            raise SurgeryError(
                f"{source.path}: the plan does not fit this file. config.json has no "
                f"{config_key(path)}. Make a plan for this file."
            )
        if id(config) not in own:
            config = copy.copy(config)
            around[key] = config
            own.add(id(config))
    return config


def _has(holder: dict[str, Any] | list[Any], key: str | int) -> bool:
    if isinstance(holder, dict):
        return key in holder
    return isinstance(key, int) and key < len(holder)


def _get(holder: Any, key: str | int) -> Any:
    if isinstance(holder, dict):
        return holder.get(key)
    if isinstance(holder, list) and isinstance(key, int) and key < len(holder):
        return holder[key]
    return None


def new_assets(plan: Plan, source: Archive) -> dict[str, bytes]:
    """The word files that the plan makes of the source's, by name."""
    assets: dict[str, bytes] = {}
    for change in plan.words:
        for name in change.assets:
            if name not in source.assets:
                raise SurgeryError(
                    f"{source.path}: the plan does not fit this file. It has no asset "
                    f"{name}. Make a plan for this file."
                )
            before = source.assets[name].read()
            kind = word_file(name)
            words = _new_words(change, list(kind.read(before) or ()), plan.row_map)
            assets[name] = kind.write(before, [str(word) for word in words])
    return assets


def _new_words(change: WordsChange, words: list[Any], row_map: RowMap) -> list[Any]:
    if len(words) != change.count:
        raise SurgeryError(
            f"The plan does not fit this file. Layer {change.layer!r}: expected "
            f"{change.count} words, received {len(words)}. Make a plan for this file."
        )
    added = iter(change.added)
    result: list[Any] = []
    for old in row_map.ids[change.new_first_id :].tolist():
        if old == NEW:
            word = next(added, None)
        else:
            number = old - change.first_id
            word = words[number] if 0 <= number < len(words) else None
        if word is None:
            break
        result.append(word)
    if len(result) != change.new_count:
        raise SurgeryError(
            f"Layer {change.layer!r}: the row map leaves an id without a word between "
            f"two that have one. Expected: {change.new_count} words in a row; received "
            f"{len(result)} before the gap."
        )
    return result
