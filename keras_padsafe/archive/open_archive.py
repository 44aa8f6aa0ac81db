"""Finds out what a path holds, and reads it as an `Archive`."""

import os
from contextlib import ExitStack
from pathlib import Path

from keras_padsafe.archive import hdf5, strict_zip
from keras_padsafe.archive.archive import Archive, Asset, Contents, Kind
from keras_padsafe.archive.asset_files import (
    asset_file,
    check_asset_sizes,
    names_below,
)
from keras_padsafe.archive.byte_window import ByteWindow, read_whole_file
from keras_padsafe.archive.foreign import (
    refuse_foreign_directory,
    refuse_unknown_file,
)
from keras_padsafe.archive.limits import Limits
from keras_padsafe.archive.member_names import (
    ASSETS,
    CONFIG,
    METADATA,
    WEIGHTS,
    check_member_names,
)
from keras_padsafe.archive.preset import is_preset, read_preset
from keras_padsafe.archive.refusal import BrokenRule, refusing
from keras_padsafe.archive.sharded import SHARD_MAP_SUFFIX, read_sharded
from keras_padsafe.archive.strict_json import parse_object
from keras_padsafe.archive.weights_file import read_weights_file
from keras_padsafe.arguments import read_instance, read_path
from keras_padsafe.errors import ArchiveError

_DEFAULT_LIMITS = Limits()


def open_archive(
    path: str | os.PathLike[str], limits: Limits = _DEFAULT_LIMITS
) -> Archive:
    """Opens a Keras 3 model file for reading; nothing in it is run.

    Whatever Keras would not have written is refused: see `Limits`, and the readers
    of zip, JSON and HDF5 in this package.

    Args:
        path: A `.keras` file, the directory that `model.save(..., zipped=False)`
            makes, the folder of a KerasHub preset, a `.weights.h5` file or the
            `.weights.json` of sharded weights.
        limits: What the file may ask of the machine.

    Returns:
        An `Archive`, which is a context manager. Only the config, the metadata and
        the layout of the arrays are in memory.

    Raises:
        ArchiveError: The file is none of these, damaged, or breaks a rule.
    """
    path = Path(read_path(path, "path", ArchiveError))
    limits = read_instance(limits, "limits", Limits, ArchiveError)
    with refusing(str(path)), ExitStack() as files:
        if path.is_dir():
            contents = _read_directory(path, limits, files)
        else:
            contents = _read_file(path, limits, files)
        return Archive(path, contents, files.pop_all())


def _read_file(path: Path, limits: Limits, files: ExitStack) -> Contents:
    window = _open_window(path, files)
    start = window.read(0, min(window.size, 512))
    if start.startswith(strict_zip.LOCAL_SIGNATURE):
        return _read_zip(window, limits)
    if start.startswith(hdf5.SIGNATURE):
        return _read_weights(window, limits)
    if path.name.endswith(SHARD_MAP_SUFFIX):
        return read_sharded(path, window, limits, lambda p: _open_window(p, files))
    raise refuse_unknown_file(start)


def _open_window(path: Path, files: ExitStack) -> ByteWindow:
    window = ByteWindow.of_file(path)
    files.callback(os.close, window.descriptor)
    return window


def _read_zip(window: ByteWindow, limits: Limits) -> Contents:
    members = strict_zip.read_zip(window, limits)
    for name in (CONFIG, WEIGHTS):
        if name not in members:
            raise BrokenRule(f"member {name} is missing")
    for name in (CONFIG, METADATA):
        if name in members:
            _check_json_size(name, members[name].size, limits)
    weights = members[WEIGHTS]
    if weights.method != strict_zip.STORED:
        raise BrokenRule(f"member {WEIGHTS} is compressed; Keras stores it as it is")
    return _assemble(
        "keras",
        window.name,
        config=members[CONFIG].read(),
        metadata=members[METADATA].read() if METADATA in members else None,
        weights=weights.data,
        crc=weights.crc,
        assets=[
            Asset(member.name, member.size, member.read)
            for member in members.values()
            if member.name.startswith(ASSETS)
        ],
        limits=limits,
    )


def _read_directory(path: Path, limits: Limits, files: ExitStack) -> Contents:
    def read(document: Path) -> bytes:
        return _read_json_file(document, limits)

    if is_preset(path, read, limits):
        return read_preset(path, limits, lambda p: _open_window(p, files), read)
    if not (path / CONFIG).exists():
        raise refuse_foreign_directory(path)
    if not (path / WEIGHTS).exists():
        raise BrokenRule(f"{WEIGHTS} is missing", "Fetch or copy that file as well.")
    names = list(names_below(path, path / ASSETS, limits))
    check_member_names(names, limits)
    metadata = path / METADATA
    return _assemble(
        "directory",
        str(path),
        config=_read_json_file(path / CONFIG, limits),
        metadata=_read_json_file(metadata, limits) if metadata.exists() else None,
        weights=_open_window(path / WEIGHTS, files),
        crc=None,
        assets=[asset_file(path, name) for name in names],
        limits=limits,
    )


def _read_json_file(path: Path, limits: Limits) -> bytes:
    _check_json_size(path.name, os.stat(path).st_size, limits)
    return read_whole_file(path, limits.max_json_bytes)


def _check_json_size(name: str, size: int, limits: Limits) -> None:
    if size > limits.max_json_bytes:
        raise BrokenRule(
            f"{name} has {size} bytes, over {limits.max_json_bytes}",
            "If you trust the file, raise `Limits.max_json_bytes`.",
        )


def _assemble(
    kind: Kind,
    name: str,
    *,
    config: bytes,
    metadata: bytes | None,
    weights: ByteWindow,
    crc: int | None,
    assets: list[Asset],
    limits: Limits,
) -> Contents:
    check_asset_sizes(assets, limits)
    file = read_weights_file(weights, crc, limits)
    return Contents(
        kind=kind,
        config_bytes=config,
        config=parse_object(f"{name}, {CONFIG}", config, limits),
        metadata_bytes=metadata,
        metadata=parse_object(f"{name}, {METADATA}", metadata or b"{}", limits),
        weights=(file,),
        arrays=file.arrays,
        groups=file.groups,
        assets={asset.name: asset for asset in assets},
    )


def _read_weights(window: ByteWindow, limits: Limits) -> Contents:
    file = read_weights_file(window, None, limits)
    return Contents("weights", (file,), file.arrays, file.groups)
