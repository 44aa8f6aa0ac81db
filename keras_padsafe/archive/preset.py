"""Reads the folder of a KerasHub preset as one model.

A preset spreads a model over files: config.json and model.weights.h5 for the backbone,
task.json and task.weights.h5 for what a task adds, preprocessor.json, tokenizer.json
and `assets/` for the text. The JSON files repeat each other.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from keras_padsafe.archive.archive import Contents, Document, WeightsFile
from keras_padsafe.archive.asset_files import (
    asset_file,
    check_asset_sizes,
    names_below,
)
from keras_padsafe.archive.byte_window import ByteWindow
from keras_padsafe.archive.limits import Limits
from keras_padsafe.archive.member_names import (
    CONFIG,
    METADATA,
    WEIGHTS,
    check_apart,
)
from keras_padsafe.archive.refusal import BrokenRule
from keras_padsafe.archive.sharded import read_sharded
from keras_padsafe.archive.stored_array import StoredArray
from keras_padsafe.archive.strict_json import parse_object
from keras_padsafe.archive.weights_file import read_weights_file
from keras_padsafe.facts.layers import snake_case

TASK, PREPROCESSOR, TOKENIZER = "task.json", "preprocessor.json", "tokenizer.json"
TASK_WEIGHTS, SHARD_MAP = "task.weights.h5", "model.weights.json"
_KEYS = {CONFIG: "backbone", PREPROCESSOR: "preprocessor", TOKENIZER: "tokenizer"}
COMPANIONS = tuple(_KEYS.values())
"""Keys of what a configuration holds, or what stands beside it."""
_ONLY_PRESETS_HAVE = (TASK, PREPROCESSOR, TOKENIZER, TASK_WEIGHTS, SHARD_MAP)
_SAVED_BY = {"keras_hub_version", "keras_nlp_version"}

_Open = Callable[[Path], ByteWindow]
_Read = Callable[[Path], bytes]


def is_preset(folder: Path, read: _Read, limits: Limits) -> bool:
    """Whether KerasHub wrote a folder, and not `model.save(..., zipped=False)`."""
    if not (folder / CONFIG).exists():
        return False
    if any((folder / name).exists() for name in _ONLY_PRESETS_HAVE):
        return True
    return bool(_SAVED_BY & _read_object(folder / METADATA, read, limits)[1].keys())


def read_preset(folder: Path, limits: Limits, open_: _Open, read: _Read) -> Contents:
    """The model of a preset, under the names that a `.keras` file of it would have.

    Its configuration is that of the task, where there is one, else of the backbone.
    A tokenizer or a preprocessor that it does not hold stands beside `config`, under a
    key of its own, which Keras reads over.

    Args:
        folder: The preset.
        limits: What it may ask of the machine.
        open_: Opens a file of weights.
        read: Reads a JSON file.
    """
    found = {
        name: _read_object(folder / name, read, limits)
        for name in (TASK, *_KEYS)
        if (folder / name).exists()
    }
    config, places = _compose({name: data for name, (_, data) in found.items()})
    backbone = found[CONFIG][1]
    _check_is_keras(backbone)
    mount = f"layers/{snake_case(str(backbone.get('class_name')))}"
    weights = [*_weights(folder, mount if TASK in found else "", limits, open_)]
    arrays, groups = _mounted(weights)
    metadata, parsed = _read_object(folder / METADATA, read, limits)
    shard_map = None
    if not (folder / WEIGHTS).exists():
        shard_map = _read_object(folder / SHARD_MAP, read, limits)[1]
    own = {*found, METADATA, SHARD_MAP, *(file.name for file in weights)}
    names = [
        name
        for name in names_below(folder, folder, limits, hidden=False)
        if name not in own
    ]
    check_apart(names, limits)
    assets = [asset_file(folder, name) for name in names]
    check_asset_sizes(assets, limits)
    return Contents(
        kind="preset",
        weights=tuple(weights),
        arrays=arrays,
        groups=groups,
        config=config,
        config_bytes=found[CONFIG][0],
        metadata=parsed,
        metadata_bytes=metadata if (folder / METADATA).exists() else None,
        assets={asset.name: asset for asset in assets},
        shard_map=shard_map,
        documents=tuple(
            Document(name, places[name], *content) for name, content in found.items()
        ),
    )


def _read_object(
    path: Path, read: _Read, limits: Limits
) -> tuple[bytes, dict[str, Any]]:
    text = read(path) if path.exists() else b"{}"
    return text, parse_object(str(path), text, limits)


def _check_is_keras(config: dict[str, Any]) -> None:
    if "registered_name" not in config:
        other = " but of Hugging Face Transformers" if "model_type" in config else ""
        raise BrokenRule(
            f"its config.json is not that of a KerasHub preset{other}",
            "Load it with `from_preset` of KerasHub and save it with `save_to_preset`.",
        )


def _compose(
    found: dict[str, dict[str, Any]],
) -> tuple[dict[str, Any], dict[str, tuple[str, ...]]]:
    """One configuration of all, and which part of it each file repeats."""
    main = TASK if TASK in found else CONFIG
    config = dict(found[main])
    places: dict[str, tuple[str, ...]] = {main: ()}
    holder: tuple[str, ...] = ()
    for name, key in _KEYS.items():
        if name not in found or name in places:
            continue
        inner = config
        for step in (*holder, "config"):
            inner = inner[step] if isinstance(inner.get(step), dict) else {}
        if isinstance(inner.get(key), dict):
            places[name] = (*holder, "config", key)
        else:
            config[key], places[name] = found[name], (key,)
        if name == PREPROCESSOR:
            holder = places[name]
    return config, places


def _weights(
    folder: Path, mount: str, limits: Limits, open_: _Open
) -> Iterator[WeightsFile]:
    if (folder / TASK_WEIGHTS).exists():
        file = read_weights_file(open_(folder / TASK_WEIGHTS), None, limits)
        yield replace(file, name=TASK_WEIGHTS)
    if (folder / WEIGHTS).exists():
        file = read_weights_file(open_(folder / WEIGHTS), None, limits)
        yield replace(file, mount=mount)
    elif (folder / SHARD_MAP).exists():
        path = folder / SHARD_MAP
        for file in read_sharded(path, open_(path), limits, open_).weights:
            yield replace(file, mount=mount)
    else:
        raise BrokenRule(
            f"it has neither {WEIGHTS} nor {SHARD_MAP}",
            "Fetch or copy that file as well.",
        )


def _mounted(
    files: list[WeightsFile],
) -> tuple[dict[str, StoredArray], dict[str, dict[str, str]]]:
    """Arrays and groups of all files, each where the model has it.

    KerasHub before 0.29 writes the backbone into the file of the task as well. What its
    own file says counts: KerasHub reads that last.
    """
    arrays: dict[str, StoredArray] = {}
    of_task = next((file.arrays for file in files if file.name == TASK_WEIGHTS), {})
    groups: dict[str, dict[str, str]] = {"": {}}
    for file in files:
        prefix = f"{file.mount}/" if file.mount else ""
        for path, array in file.arrays.items():
            place = prefix + path
            other = arrays.pop(place, None)
            if other is not None and (
                place not in of_task
                or (other.shape, other.dtype) != (array.shape, array.dtype)
            ):
                raise BrokenRule(
                    f"array {place} is in two of its files, and not the same in both",
                    "Load the preset with KerasHub 0.29 or later and save it again.",
                )
            arrays[place] = replace(array, path=place)
        for path, attributes in file.groups.items():
            place = (prefix + path).rstrip("/")
            groups[place] = {**groups.get(place, {}), **attributes}
    return arrays, groups
