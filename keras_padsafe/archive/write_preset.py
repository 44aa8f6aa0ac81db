"""Writes a preset from another, changing only what is named."""

import copy
import json
import math
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_padsafe.archive.archive import Archive, Asset, WeightsFile
from keras_padsafe.archive.atomic_folder import atomic_folder
from keras_padsafe.archive.checked_output import CheckedOutput
from keras_padsafe.archive.dtypes import storage_dtype
from keras_padsafe.archive.member_names import METADATA
from keras_padsafe.archive.new_array import NewArray
from keras_padsafe.archive.preset import COMPANIONS, SHARD_MAP, TASK_WEIGHTS
from keras_padsafe.archive.weights_writer import WeightsWriter
from keras_padsafe.arguments import Progress
from keras_padsafe.errors import ArchiveError


@dataclass(frozen=True)
class _File:
    name: str
    size: int
    write: Callable[[CheckedOutput], None]


def write_preset(
    target: Path,
    source: Archive,
    *,
    config: dict[str, Any] | None,
    metadata: dict[str, Any] | None,
    assets: Mapping[str, bytes],
    arrays: Mapping[str, NewArray],
    drop: Collection[str],
    overwrite: bool,
    progress: Progress | None,
    accept: Callable[[Path], None] | None,
) -> None:
    """Writes `source`, with replacements, to a new folder; see `write_archive`.

    Whatever lies in the folder comes along, and every JSON file of it says the same.
    """
    if target.suffix == ".keras":
        raise ArchiveError(
            f"{target}: a preset is written as a folder. Choose a name without "
            ".keras, or load the preset with KerasHub and save the model."
        )
    contents = source.contents
    documents = new_documents(source, config or source.config or {})
    texts = {
        doc.name: doc.text if documents[doc.name] == doc.data else _text(new)
        for doc in contents.documents
        for new in [documents[doc.name]]
    }
    if metadata is not None:
        more = _added(source, arrays, as_bytes=False)
        texts[METADATA] = _counted(metadata, ("parameter_count",), more)
    elif contents.metadata_bytes is not None:
        texts[METADATA] = contents.metadata_bytes
    if contents.shard_map is not None:
        more = _added(source, arrays, as_bytes=True)
        size = ("metadata", "total_size")
        texts[SHARD_MAP] = _counted(contents.shard_map, size, more)
    texts |= assets
    files = [
        *(_of_bytes(name, text) for name, text in texts.items()),
        *(
            _of_asset(asset)
            for name, asset in source.assets.items()
            if name not in assets
        ),
        *(_of_weights(file, arrays, drop) for file in contents.weights),
    ]
    total = sum(file.size for file in files)
    inputs = [source.path, *(file.data.descriptor for file in contents.weights)]
    with atomic_folder(
        target, total, overwrite=overwrite, inputs=inputs, accept=accept
    ) as folder:
        done = 0
        for file in files:
            _write(folder, file, done, total, progress)
            done += file.size
        source.check_unchanged()


def new_documents(source: Archive, config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What each JSON file of a preset says when its model has a new configuration.

    A file that says something else than the model already keeps that.

    Raises:
        ArchiveError: if it says something else of what changes.
    """
    before = source.config or {}
    return {
        document.name: _carried_over(
            _part(before, document.place),
            _part(config, document.place),
            document.data,
            (document.name,),
            source.path,
        )
        for document in source.contents.documents
    }


def _part(config: dict[str, Any], place: tuple[str, ...]) -> dict[str, Any]:
    if not place:
        return {k: v for k, v in config.items() if k not in COMPANIONS}
    for key in place:
        config = config[key]
    return config


def _carried_over(
    before: Any, after: Any, here: Any, place: tuple[str, ...], path: Path
) -> Any:
    """What is `here`, changed as `before` was to become `after`."""
    if before == after:
        return here
    if here == before:
        return after
    if all(isinstance(value, dict) for value in (before, after, here)):
        changed = [key for key in after if before.get(key) != after[key]]
        return here | {
            key: _carried_over(
                before.get(key), after[key], here.get(key), (*place, key), path
            )
            for key in changed
        }
    raise ArchiveError(
        f"{path}: {place[0]} says {here!r:.60} of {'.'.join(place[1:])}, and another "
        f"file of the preset {before!r:.60}. Expected: files that agree. Load the "
        "preset with `from_preset` of KerasHub and save it with `save_to_preset`."
    )


def _below(file: WeightsFile, named: Mapping[str, Any]) -> dict[str, Any]:
    """What is named of the arrays and groups of one file, by its own paths."""
    prefix = f"{file.mount}/" if file.mount else ""
    own = (*file.arrays, *file.groups)
    return {path: named[prefix + path] for path in own if prefix + path in named}


def _added(source: Archive, arrays: Mapping[str, NewArray], *, as_bytes: bool) -> int:
    """How many numbers, or bytes, the backbone has more."""
    total = 0
    for file in source.contents.weights:
        if file.name != TASK_WEIGHTS:
            for path, new in _below(file, arrays).items():
                old = file.arrays[path]
                more = math.prod(new.shape) - math.prod(old.shape)
                total += more * (storage_dtype(old.dtype).itemsize if as_bytes else 1)
    return total


def _counted(document: dict[str, Any], keys: tuple[str, ...], more: int) -> bytes:
    """A document in which a number, where it has it, counts some more."""
    *holders, key = keys
    document = copy.deepcopy(document)
    inner: Any = document
    for holder in holders:
        inner = inner.get(holder) or {}
    if isinstance(inner, dict) and isinstance(inner.get(key), int):
        inner[key] += more
    return _text(document)


def _text(document: dict[str, Any]) -> bytes:
    return json.dumps(document, indent=4).encode()


def _of_asset(asset: Asset) -> _File:
    return _File(asset.name, asset.size, lambda output: output.write(asset.read()))


def _of_weights(
    file: WeightsFile, arrays: Mapping[str, NewArray], drop: Collection[str]
) -> _File:
    left_out = _below(file, dict.fromkeys(drop))
    writer = WeightsWriter(file, _below(file, arrays), left_out, {})
    return _File(file.name, writer.size, writer.write)


def _of_bytes(name: str, text: bytes) -> _File:
    return _File(name, len(text), lambda output: output.write(text))


def _write(
    folder: Path, file: _File, done: int, total: int, progress: Progress | None
) -> None:
    path = folder / file.name
    path.parent.mkdir(parents=True, exist_ok=True)
    report = progress and (lambda written, _: progress(done + written, total))
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags, 0o666)
    try:
        output = CheckedOutput(descriptor, file.size, report)
        file.write(output)
        output.flush()
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
