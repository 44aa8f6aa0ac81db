"""Writes a model file from another, changing only what is named."""

import json
import os
import zlib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from keras_padsafe.archive.archive import Archive, Asset
from keras_padsafe.archive.atomic_file import atomic_file, explaining
from keras_padsafe.archive.checked_output import CheckedOutput
from keras_padsafe.archive.member_names import CONFIG, METADATA, WEIGHTS
from keras_padsafe.archive.new_array import NewArray
from keras_padsafe.archive.target import check_target
from keras_padsafe.archive.weights_writer import WeightsWriter
from keras_padsafe.archive.write_preset import write_preset
from keras_padsafe.archive.zip_writer import (
    ZipEntry,
    archive_size,
    directory,
    lay_out,
)
from keras_padsafe.arguments import (
    Progress,
    read_flag,
    read_function,
    read_instance,
    read_named,
    read_path,
    read_progress,
    read_texts,
)
from keras_padsafe.errors import ArchiveError

_SUFFIX = ".keras"
_NOTHING: Mapping[str, Any] = {}


def write_archive(
    target: str | os.PathLike[str],
    source: Archive,
    *,
    config: dict[str, Any] | None = None,
    metadata: dict[str, Any] | None = None,
    assets: Mapping[str, bytes] = _NOTHING,
    arrays: Mapping[str, NewArray] = _NOTHING,
    drop: Collection[str] = (),
    rename: Mapping[str, str] = _NOTHING,
    overwrite: bool = False,
    progress: Progress | None = None,
    accept: Callable[[Path], None] | None = None,
) -> None:
    """Writes `source`, with replacements, to a new `.keras` file or preset.

    What is not replaced keeps its bytes. The file is written in one pass, in blocks:
    memory does not grow with the model. The source's checksum is verified on the way,
    and only when everything is right does `target` appear, whole.

    Args:
        target: The file to write; ends with `.keras`. Of a preset, the folder.
        source: An open archive that has a config.
        config: New `config.json`; `None` keeps the old text.
        metadata: New `metadata.json`; `None` keeps the old text.
        assets: New contents of assets that the source has, by name.
        arrays: New contents of arrays that the source has, by path.
        drop: Paths of arrays and groups to leave out, with all below them.
        rename: New paths of arrays and groups by their old ones; what lies below a
            group moves with it, and two may change places. `arrays` and `drop` go by
            the old paths.
        overwrite: Whether `target` may exist. It may never be the source itself.
        progress: Called with the bytes written so far and their total.
        accept: Called with the file when it is complete and has no name yet; an error
            of it leaves no file.

    Raises:
        ArchiveError: Nothing was written, and the message says why.
    """
    path = Path(read_path(target, "target", ArchiveError))
    overwrite = read_flag(overwrite, "overwrite", ArchiveError)
    progress = read_progress(progress, "progress", ArchiveError)
    source = read_instance(source, "source", Archive, ArchiveError)
    for name, document in (("config", config), ("metadata", metadata)):
        if document is not None:
            read_instance(document, name, dict, ArchiveError)
    assets = read_named(assets, "assets", bytes, ArchiveError)
    arrays = read_named(arrays, "arrays", NewArray, ArchiveError)
    rename = read_named(rename, "rename", str, ArchiveError)
    drop = read_texts(drop, "drop", ArchiveError)
    if accept is not None:
        read_function(accept, "accept", ArchiveError)
    _check_known("assets", assets, source.assets)
    if source.kind == "preset":
        _check_known("arrays", arrays, source.arrays)
        if rename:
            raise ArchiveError(
                f"{source.path}: arrays of a preset keep their paths. Load it with "
                "KerasHub and change it there."
            )
        write_preset(
            path,
            source,
            config=config,
            metadata=metadata,
            assets=assets,
            arrays=arrays,
            drop=drop,
            overwrite=overwrite,
            progress=progress,
            accept=accept,
        )
        return
    inputs = [source.path, *(file.data.descriptor for file in source.contents.weights)]
    _check_target(path, source)
    with explaining(path):
        check_target(Path(os.path.realpath(path)), overwrite=overwrite, inputs=inputs)
    weights = WeightsWriter(source.contents.weights[0], arrays, drop, rename)
    before = [
        _text(METADATA, metadata, source.contents.metadata_bytes),
        _text(CONFIG, config, source.contents.config_bytes),
    ]
    after = [_asset(asset, assets) for asset in source.assets.values()]
    entries = lay_out(
        {member.name: member.size for member in before}
        | {WEIGHTS: weights.size}
        | {member.name: member.size for member in after}
    )
    size = archive_size(entries)
    with atomic_file(
        path, size, overwrite=overwrite, inputs=inputs, accept=accept
    ) as descriptor:
        output = CheckedOutput(descriptor, size, progress)
        for member in before:
            _write_member(output, entries[member.name], member.read())
        _write_weights(output, entries[WEIGHTS], weights)
        for member in after:
            _write_member(output, entries[member.name], member.read())
        output.write(directory(entries))
        output.flush()
        source.check_unchanged()


def _check_target(target: Path, source: Archive) -> None:
    if source.contents.config_bytes is None:
        raise ArchiveError(
            f"{source.path}: it holds weights without a model, so no {_SUFFIX} file "
            "can be made of it. Load the weights into the model and save that."
        )
    if target.suffix != _SUFFIX:
        raise ArchiveError(
            f"{target}: the file to write must end with {_SUFFIX}, or Keras would not "
            "load it."
        )
    if not os.path.isdir(os.path.realpath(target.parent)):
        raise ArchiveError(f"{target}: its folder does not exist. Make it first.")


def _check_known(argument: str, given: Collection[str], known: Collection[str]) -> None:
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ArchiveError(
            f"{argument}: the source has none called {unknown[0]!r:.60}. It has: "
            f"{', '.join(sorted(known)[:20]) or 'none'}."
        )


def _text(name: str, new: dict[str, Any] | None, old: bytes | None) -> Asset:
    """A JSON member. It is written even if empty: Keras counts on three members."""
    text = (old or b"{}") if new is None else json.dumps(new).encode()
    return Asset(name, len(text), lambda: text)


def _asset(old: Asset, replacements: Mapping[str, bytes]) -> Asset:
    if old.name not in replacements:
        return old
    new = replacements[old.name]
    return Asset(old.name, len(new), lambda: new)


def _write_member(output: CheckedOutput, entry: ZipEntry, contents: bytes) -> None:
    entry.crc = zlib.crc32(contents)
    output.write(entry.local_header())
    output.write(contents)


def _write_weights(
    output: CheckedOutput, entry: ZipEntry, weights: WeightsWriter
) -> None:
    """The checksum is known at the end; the header is written again then."""
    output.write(entry.local_header())
    output.start_checksum()
    weights.write(output)
    entry.crc = output.checksum()
    output.overwrite(entry.header_offset, entry.local_header())
