"""A batch from a file: what a model takes, and the targets if they are there."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from keras_padsafe.cli.command import Failure


@dataclass(frozen=True)
class Batch:
    """One batch of a file.

    Attributes:
        x: One array, or arrays by the names of the model's inputs.
        y: The targets, likewise; `None` if the file has none.
        sample_weight: The weights of the rows; `None` if the file has none.
    """

    x: Any
    y: Any = None
    sample_weight: Any = None


def read_batch(path: str) -> Batch:
    """Reads `.npy`, one array, or `.npz`, arrays by name.

    In an `.npz` file `y` and `sample_weight` are targets and weights; `x`, or a file of
    one other array, is the input. Any others are inputs by name.

    Raises:
        Failure: if the file cannot be read, or holds no numbers.
    """
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            raise OSError("it is not a regular file")  # A pipe would wait for ever.
        # Pickled objects would run code.
        with open(path, "rb") as file:
            loaded = np.load(file, allow_pickle=False)
            arrays = {"x": loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
        if others := [n for n, a in arrays.items() if not isinstance(a, np.ndarray)]:
            raise ValueError(f"{others[0]} in it is no array")
    except OSError as error:
        raise Failure(
            f"{path}: it could not be read ({error.strerror or error}). Expected: a "
            ".npy or .npz file that NumPy wrote."
        ) from None
    except Exception as error:
        raise Failure(
            f"{path}: it is no .npy or .npz file of plain numbers ({error}). Write one "
            "with numpy.savez(path, x=ids, y=targets)."
        ) from None
    for name, array in arrays.items():
        if array.dtype.kind not in "biufUV":
            raise Failure(
                f"{path}: array {name!r} holds {array.dtype}. Expected: numbers."
            )
    y, weight = arrays.pop("y", None), arrays.pop("sample_weight", None)
    if not arrays:
        raise Failure(
            f"{path}: it holds no input. Expected: an array named x, or arrays by the "
            f"names of the model's inputs. {Path(path).name} holds only targets."
        )
    x: Any = next(iter(arrays.values())) if len(arrays) == 1 else arrays
    return Batch(x, y, weight)
