"""Weights spread over several files, and the map that names them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from keras_padsafe.archive.archive import Contents, WeightsFile
from keras_padsafe.archive.byte_window import ByteWindow
from keras_padsafe.archive.hdf5 import Hdf5Tree, read_hdf5
from keras_padsafe.archive.limits import Limits
from keras_padsafe.archive.refusal import BrokenRule
from keras_padsafe.archive.stored_array import StoredArray, stored_arrays
from keras_padsafe.archive.strict_json import parse_object

SHARD_MAP_SUFFIX = ".weights.json"
_SHARD_SUFFIX = ".weights.h5"


def read_sharded(
    path: Path,
    shard_map: ByteWindow,
    limits: Limits,
    open_window: Callable[[Path], ByteWindow],
) -> Contents:
    """One union of the arrays in all shards, in the order of the shards."""
    if shard_map.size > limits.max_json_bytes:
        raise BrokenRule(f"the map has {shard_map.size} bytes")
    text = shard_map.read(0, shard_map.size)
    homes = _parse_map(parse_object(str(path), text, limits), limits)
    shards: list[tuple[ByteWindow, Hdf5Tree]] = []
    groups: dict[str, dict[str, str]] = {}
    for name in sorted({name for names in homes.values() for name in names}):
        shard = path.with_name(name)
        if not shard.exists():
            raise BrokenRule(
                f"shard {name} is missing", "Put every shard into the map's folder."
            )
        window = open_window(shard)
        tree = read_hdf5(window, limits)
        _merge_groups(groups, tree.groups, name)
        shards.append((window, tree))
    for group in homes:
        if group not in groups:
            raise BrokenRule(f"the map names {group!r}, which no shard holds")
    # Only one of the shards that share a group may say which layer it belongs to.
    arrays: dict[str, StoredArray] = {}
    files: list[WeightsFile] = []
    for window, tree in shards:
        held = stored_arrays(window, tree.arrays, groups)
        for array in held.values():
            if array.path in arrays:
                raise BrokenRule(f"array {array.path} is in two shards")
            arrays[array.path] = array
        name = Path(window.name).name
        files.append(WeightsFile(window, None, held, tree.groups, name))
    return Contents("sharded", tuple(files), arrays, groups)


def _parse_map(document: dict[str, Any], limits: Limits) -> dict[str, list[str]]:
    """`weight_map`: HDF5 group -> names of the shards that hold its arrays."""
    weight_map = document.get("weight_map")
    if not isinstance(weight_map, dict):
        raise BrokenRule("it has no `weight_map`, so it is no shard map")
    homes: dict[str, list[str]] = {}
    for group, value in weight_map.items():
        names = value if isinstance(value, list) else [value]
        for name in names:
            _check_shard_name(name)
        homes[group.strip("/")] = names
    if len({name for names in homes.values() for name in names}) > limits.max_shards:
        raise BrokenRule(f"it names more than {limits.max_shards} shards")
    return homes


def _check_shard_name(name: Any) -> None:
    if not isinstance(name, str) or not name.endswith(_SHARD_SUFFIX):
        raise BrokenRule(f"{name!r} is not the name of a shard ({_SHARD_SUFFIX})")
    if any(sign in name for sign in "/\\:\0"):
        raise BrokenRule(f"shard {name!r} is outside the map's folder")


def _merge_groups(
    union: dict[str, dict[str, str]], shard: dict[str, dict[str, str]], name: str
) -> None:
    for path, attributes in shard.items():
        known = union.setdefault(path, {})
        for key, value in attributes.items():
            if known.setdefault(key, value) != value:
                raise BrokenRule(f"shard {name} contradicts another about {path}")
