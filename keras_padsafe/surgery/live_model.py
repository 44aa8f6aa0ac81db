"""A model in memory goes through a temporary archive and comes back as a new one."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from keras_padsafe.errors import SurgeryError
from keras_padsafe.surgery.report import Report


def is_live_model(source: Any) -> bool:
    """Whether `source` is a model and not a path."""
    return not isinstance(source, str | os.PathLike)


def save_live(model: Any, path: Path) -> str:
    """Saves a model; returns the path.

    Raises:
        SurgeryError: if it is none.
    """
    if not hasattr(model, "save") or not hasattr(model, "get_config"):
        raise SurgeryError(
            "source: expected the path of a `.keras` file or a Keras model; received "
            f"{type(model).__name__}."
        )
    model.save(path)
    return str(path)


def through_archive(
    model: Any,
    target: str | None,
    operate: Callable[[str, str], Report],
) -> Report:
    """Saves `model`, operates on the file, and loads the result as a new model.

    Args:
        model: A Keras model; untouched.
        target: Where to keep the result; `None` keeps the new model only.
        operate: Takes the file to read and the file to write.
    """
    import keras

    with tempfile.TemporaryDirectory(prefix="keras_padsafe_") as folder:
        saved, made = Path(folder, "saved.keras"), Path(folder, "made.keras")
        written = str(made) if target is None else target
        report = operate(save_live(model, saved), written)
        # The model is the caller's own: what it runs on loading it ran before.
        loaded = keras.models.load_model(written, safe_mode=False)
    kept = Path(written) if target is not None else None
    return replace(report, source=None, target=kept, model=loaded)
