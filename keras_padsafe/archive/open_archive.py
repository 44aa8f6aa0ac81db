"""Finds out what a path holds, and reads it as an `Archive`."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from keras_padsafe.archive import hdf5, strict_zip
from keras_padsafe.archive.archive import Archive, Asset, Contents, Kind, WeightsFile
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
from keras_padsafe.archive.refusal import FETCH_AGAIN, BrokenRule, refusing
from keras_padsafe.archive.sharded import SHARD_MAP_SUFFIX, read_sharded
from keras_padsafe.archive.stored_array import stored_arrays
from keras_padsafe.archive.strict_json import parse_object
from keras_padsafe.arguments import read_path
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
            makes, a `.weights.h5` file or the `.weights.json` of sharded weights.
        limits: What the file may ask of the machine.

    Returns:
        An `Archive`, which is a context manager. Only the config, the metadata and
        the layout of the arrays are in memory.

    Raises:
        ArchiveError: The file is none of these, damaged, or breaks a rule.
    """
    path = Path(read_path(path, "path", ArchiveError))
    if not isinstance(limits, Limits):
        raise ArchiveError(f"limits: expected Limits; received {limits!r:.60}.")
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
        weights=WeightsFile(weights.data, weights.crc),
        assets=[
            Asset(member.name, member.size, member.read)
            for member in members.values()
            if member.name.startswith(ASSETS)
        ],
        limits=limits,
    )


def _read_directory(path: Path, limits: Limits, files: ExitStack) -> Contents:
    if not (path / CONFIG).exists():
        raise refuse_foreign_directory(path)
    if not (path / WEIGHTS).exists():
        raise BrokenRule(f"{WEIGHTS} is missing", "Fetch or copy that file as well.")
    names = list(_asset_names(path, limits))
    check_member_names(names, limits)
    metadata = path / METADATA
    return _assemble(
        "directory",
        str(path),
        config=_read_json_file(path / CONFIG, limits),
        metadata=_read_json_file(metadata, limits) if metadata.exists() else None,
        weights=WeightsFile(_open_window(path / WEIGHTS, files), crc=None),
        assets=[_asset_file(path, name) for name in names],
        limits=limits,
    )


def _asset_names(path: Path, limits: Limits) -> Iterator[str]:
    """Files below `assets/`; a link to a directory is not followed."""
    count = 0
    for folder, _, names in os.walk(path / ASSETS):
        for name in names:
            count += 1
            if count > limits.max_members:
                raise BrokenRule(f"it has more than {limits.max_members} assets")
            yield (Path(folder) / name).relative_to(path).as_posix()


def _asset_file(folder: Path, name: str) -> Asset:
    path = folder / name
    size = os.stat(path).st_size

    def read() -> bytes:
        contents = read_whole_file(path, size)
        with refusing(str(path)):
            if len(contents) != size:
                raise BrokenRule("it changed while it was read", FETCH_AGAIN)
        return contents

    return Asset(name, size, read)


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
    weights: WeightsFile,
    assets: list[Asset],
    limits: Limits,
) -> Contents:
    _check_asset_sizes(assets, limits)
    tree = hdf5.read_hdf5(weights.data, limits)
    return Contents(
        kind=kind,
        config_bytes=config,
        config=parse_object(f"{name}, {CONFIG}", config, limits),
        metadata_bytes=metadata,
        metadata=parse_object(f"{name}, {METADATA}", metadata or b"{}", limits),
        weights=(weights,),
        arrays=stored_arrays(weights.data, tree.arrays, tree.groups),
        groups=tree.groups,
        assets={asset.name: asset for asset in assets},
    )


def _check_asset_sizes(assets: list[Asset], limits: Limits) -> None:
    total = 0
    for asset in assets:
        total += asset.size
        if asset.size > limits.max_asset_bytes or total > limits.max_total_asset_bytes:
            raise BrokenRule(
                f"its assets are too large, from {asset.name} ({asset.size} bytes) on",
                "If you trust the file, raise `Limits.max_asset_bytes` and "
                "`Limits.max_total_asset_bytes`.",
            )


def _read_weights(window: ByteWindow, limits: Limits) -> Contents:
    tree = hdf5.read_hdf5(window, limits)
    return Contents(
        kind="weights",
        weights=(WeightsFile(window, crc=None),),
        arrays=stored_arrays(window, tree.arrays, tree.groups),
        groups=tree.groups,
    )
