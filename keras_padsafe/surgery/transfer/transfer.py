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
from keras_padsafe.saved_model.malformed import shortly
from keras_padsafe.saved_model.row_map import NEW
from keras_padsafe.saved_model.word_lists import with_words, words_in
from keras_padsafe.surgery.finding.word_files import word_file
from keras_padsafe.surgery.planning.plan import Plan, WordsChange
from keras_padsafe.surgery.planning.unfit import unfit
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
    check_fits_arrays(plan, source)
    config, assets = new_config(plan, source), new_assets(plan, source)
    drops = plan.optimizer == "drop" and "optimizer" in source.groups
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
        drop=["optimizer"] if drops else [],
        overwrite=overwrite,
        progress=progress,
        accept=accept,
    )


def check_fits_arrays(plan: Plan, source: Archive) -> None:
    """Raises `SurgeryError` unless a file has the arrays that a plan changes."""
    for change in plan.arrays:
        array = source.arrays.get(change.path)
        if array is None or (array.shape, array.dtype) != (change.shape, change.dtype):
            received = f"{array.dtype} of shape {array.shape}" if array else "none"
            expected = f"{change.dtype} of shape {change.shape}"
            raise unfit(source, f"Array {change.path}", expected, received)


def new_config(plan: Plan, source: Archive) -> dict[str, Any]:
    """The config.json that the plan makes of the source's."""
    if source.config is None:
        raise SurgeryError(f"{source.path}: the file holds no config.json.")
    config = {**source.config}
    own = {id(config)}
    for change in plan.config:
        holder, old = _find(config, change.path, source, own)
        # What a plan puts in may take the place of any value, as of an initializer.
        is_put_in = change.old is None
        if not (isinstance(holder, dict) if is_put_in else old == change.old):
            place = config_key(change.path)
            raise unfit(source, place, shortly(change.old), shortly(old))
        holder[change.path[-1]] = copy.deepcopy(change.new)
    for change in plan.words:
        weights = replace(change, added=(change.weight,) * len(change.added))
        for path, like in (
            (change.config_path, change),
            (change.weights_path, weights),
        ):
            if path is not None:
                holder, value = _find(config, path, source, own)
                listed = words_in(value)
                old = [*listed.words] if listed else value
                if not isinstance(old, list):
                    raise unfit(source, config_key(path), "a list", f"{value!r}")
                words = _new_words(like, old, plan, source)
                holder[path[-1]] = with_words(value, words, like.new_first_id)
    return config


def _find(
    config: Any, path: ConfigPath, source: Archive, own: set[int]
) -> tuple[Any, Any]:
    """What holds a place, as the new config.json's `own`, and what lies there."""
    for key in path[:-1]:
        around: Any = config
        config = _get(config, key)
        if not isinstance(config, dict | list):
            raise unfit(source, config_key(path), "a value", "none")
        if id(config) not in own:
            config = copy.copy(config)
            around[key] = config
            own.add(id(config))
    return config, _get(config, path[-1])


def _get(holder: Any, key: str | int) -> Any:
    if isinstance(holder, dict):
        return holder.get(key)
    is_there = isinstance(key, int) and key < len(holder)
    return holder[key] if is_there else None


def new_assets(plan: Plan, source: Archive) -> dict[str, bytes]:
    """The word files that the plan makes of the source's, by name."""
    assets: dict[str, bytes] = {}
    for change in plan.words:
        for name in change.assets:
            if name not in source.assets:
                raise unfit(source, name, "a list of words", "none")
            before = source.assets[name].read()
            kind = word_file(name)
            words = _new_words(change, list(kind.read(before) or ()), plan, source)
            assets[name] = kind.write(before, [str(word) for word in words])
    return assets


def _new_words(
    change: WordsChange, words: list[Any], plan: Plan, source: Archive
) -> list[Any]:
    if len(words) != change.count:
        place, count = f"Layer {change.layer!r}", f"{change.count} words"
        raise unfit(source, place, count, f"{len(words)}")
    added = iter(change.added)
    result: list[Any] = []
    for old in plan.row_map.ids[change.new_first_id :].tolist():
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
