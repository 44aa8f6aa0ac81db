"""Reads a `.keras` file with h5py and json alone: the reader that tests trust."""

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import ml_dtypes
import numpy as np

Place = tuple[str | int, ...]


@dataclass(frozen=True)
class Saved:
    """Everything in a file: config, metadata, arrays, assets."""

    config: dict[str, Any]
    metadata: dict[str, Any]
    arrays: dict[str, np.ndarray]
    assets: dict[str, bytes]

    @property
    def weights(self) -> dict[str, np.ndarray]:
        """The arrays of the model itself."""
        return {k: v for k, v in self.arrays.items() if not k.startswith("optimizer/")}

    @property
    def slots(self) -> dict[str, np.ndarray]:
        """The optimizer's variables."""
        return {k: v for k, v in self.arrays.items() if k.startswith("optimizer/")}


def read(path: Path) -> Saved:
    """Reads a `.keras` file whole."""
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        members = {name: archive.read(name) for name in archive.namelist()}
    arrays: dict[str, np.ndarray] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            values = item[()]
            if item.attrs.get("dtype") == "bfloat16":
                values = values.view(ml_dtypes.bfloat16)
            arrays[name] = np.asarray(values)

    with h5py.File(io.BytesIO(members["model.weights.h5"])) as file:
        file.visititems(visit)
    return Saved(
        json.loads(members["config.json"]),
        json.loads(members["metadata.json"]),
        arrays,
        {k: v for k, v in members.items() if k.startswith("assets/")},
    )


def digest(path: Path) -> str:
    """Hash of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def same_bits(left: np.ndarray, right: np.ndarray) -> bool:
    """Whether two arrays are equal bit for bit, NaN included."""
    return (
        left.dtype == right.dtype
        and left.shape == right.shape
        and left.tobytes() == right.tobytes()
    )


def without_identities(config: Any, seen: dict[Any, int] | None = None) -> Any:
    """A config in which the `id()` of shared objects is a running number."""
    seen = {} if seen is None else seen
    if isinstance(config, dict):
        result = {}
        for key, value in config.items():
            if key == "shared_object_id":
                value = seen.setdefault(value, len(seen))
            result[key] = without_identities(value, seen)
        return result
    if isinstance(config, list):
        return [without_identities(value, seen) for value in config]
    return config


def differences(left: Any, right: Any, place: Place = ()) -> Iterator[tuple]:
    """The places where two configs differ, with both values."""
    if isinstance(left, dict) and isinstance(right, dict):
        for key in sorted({*left, *right}):
            yield from differences(left.get(key), right.get(key), (*place, key))
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for index, (one, other) in enumerate(zip(left, right, strict=True)):
            yield from differences(one, other, (*place, index))
    elif left != right:
        yield place, left, right
