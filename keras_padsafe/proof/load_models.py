"""Loads two files with Keras, and shows that each is in memory as it is on disk."""

import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_padsafe.archive import Archive
from keras_padsafe.errors import message_of
from keras_padsafe.proof.bits import as_array, bits
from keras_padsafe.proof.certificate import LOADS, Check, few
from keras_padsafe.proof.load_preset import is_preset, load_preset

_OPTIMIZER = "optimizer/"


class ModelFailed(Exception):
    """A model could not be loaded or run; the message is for a check."""


@dataclass(frozen=True)
class Loaded:
    """A loaded model, and the arrays of its file that it does not hold.

    Attributes:
        model: The model.
        warnings: What Keras warned of while it loaded.
        unread: Path in the weights file -> how memory differs from the file.
    """

    model: Any
    warnings: tuple[str, ...]
    unread: dict[str, str]


def load_model(path: str | os.PathLike[str]) -> tuple[Any, list[str]]:
    """A saved model and what Keras warned of while it loaded.

    Raises:
        ModelFailed: if Keras cannot load it.
    """
    from keras.models import load_model as load

    from keras_padsafe.compat import weights_follow

    with warnings.catch_warnings(record=True) as caught, weights_follow():
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            model = load_preset(path) if is_preset(path) else load(path)
        except Exception as error:
            raise ModelFailed(_with_hint(error)) from error
    return model, [str(warning.message) for warning in caught]


def _with_hint(error: Exception) -> str:
    text = message_of(error)
    missing = re.search(r"Could not (?:locate|deserialize) \w+ '([^']+)'", text)
    if missing:
        return (
            f"Keras does not know the class {missing[1]!r}. Import the module that "
            f"registers it first: --import MODULE on the command line. {text}"
        )
    if "unsafe" in text:
        return (
            "Keras refuses to run code from the file, such as the code of a Lambda. "
            "If you trust it, call keras.config.enable_unsafe_deserialization() in a "
            "module of your own, and import that: --import MODULE, or in Python "
            "before this call."
        )
    return text


def load_pair(
    source: Archive, target: Archive
) -> tuple[Check, tuple[Loaded, Loaded] | None]:
    """Loads two files to compare them; `None` if one of them cannot be loaded."""
    name = LOADS
    # The new file first: in a new process, Keras has then given no names yet, as it
    # will be for whoever uses the file.
    after, before = _load(target), _load(source)
    if isinstance(before, ModelFailed):
        detail = f"Keras cannot load the old file. {before}"
        return Check(name, "skipped", detail), None
    if isinstance(after, ModelFailed):
        return Check(name, "failed", str(after)), None
    known = {re.sub(r"\d+", "", text) for text in before.warnings}
    fresh = [t for t in after.warnings if re.sub(r"\d+", "", t) not in known]
    also = "".join(f"; Keras warned: {text}" for text in fresh)
    detail = f"as {type(after.model).__name__}{also}"
    return Check(name, "passed", detail), (before, after)


def _load(archive: Archive) -> Loaded | ModelFailed:
    try:
        model, messages = load_model(archive.path)
    except ModelFailed as error:
        return error
    return Loaded(model, tuple(messages), dict(_differences(model, archive)))


def _differences(model: Any, archive: Archive) -> Iterator[tuple[str, str]]:
    """Where a loaded model differs from its file: Keras skips what does not fit."""
    from keras_padsafe.compat import saved_arrays, walk_saved

    found: set[str] = set()
    for path, value in saved_arrays(walk_saved(model)):
        found.add(path)
        stored, here = archive.arrays.get(path), as_array(value)
        if stored is None:
            yield path, "is not in the file"
        elif here.shape != stored.shape:
            yield path, f"shape {stored.shape} in the file, {here.shape} in memory"
        elif not _same_values(here, stored.read()):
            yield path, "has other values in memory than in the file"
    for path in archive.arrays.keys() - found:
        yield path, "is in the file and not in memory"


def _same_values(here: np.ndarray, stored: np.ndarray) -> bool:
    if here.dtype.itemsize == stored.dtype.itemsize:
        return np.array_equal(bits(here), bits(stored))
    return np.array_equal(here, stored, equal_nan=here.dtype.kind == "f")


def check_arrays(before: Loaded, after: Loaded) -> Check:
    """Whether Keras read every array of the new file, where it read those before."""
    name = "arrays as Keras loads them"
    wrong = [path for path in after.unread if path not in before.unread]
    wrong = _told(after, [path for path in wrong if not path.startswith(_OPTIMIZER)])
    if wrong:
        return Check(name, "failed", few(wrong), float(len(wrong)))
    return Check(name, "passed", "each with the shape and the values of the file", 0.0)


def check_optimizer(
    before: Loaded, after: Loaded, target: Archive, *, dropped: bool
) -> Check:
    """Whether the optimizer of the new file goes on from its saved state."""
    name = "optimizer goes on"
    if dropped:
        return Check(name, "does not apply", "its state was dropped, as asked")
    slots = [path for path in target.arrays if path.startswith(_OPTIMIZER)]
    if not slots:
        return Check(name, "does not apply", "no optimizer was saved")
    if _unread_slots(before):
        detail = "Keras does not read its state from the old file either"
        return Check(name, "does not apply", detail + _warned(before))
    if unread := _unread_slots(after):
        detail = few(unread) + _warned(after)
        return Check(name, "failed", detail, float(len(unread)))
    optimizer = after.model.optimizer
    steps = int(optimizer.iterations)
    detail = f"{type(optimizer).__name__} at step {steps}, {len(slots)} variables"
    return Check(name, "passed", detail, float(steps))


def _unread_slots(loaded: Loaded) -> list[str]:
    return _told(loaded, [p for p in loaded.unread if p.startswith(_OPTIMIZER)])


def _told(loaded: Loaded, paths: list[str]) -> list[str]:
    return [f"{path}: {loaded.unread[path]}" for path in sorted(paths)]


def _warned(loaded: Loaded) -> str:
    return "".join(f": {text}" for text in loaded.warnings if "optimizer" in text)
