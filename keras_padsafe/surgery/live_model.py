"""A model in memory goes through a temporary archive."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from keras_padsafe.errors import SurgeryError
from keras_padsafe.surgery.planning.plan import Plan
from keras_padsafe.surgery.report import Report


def is_live_model(source: Any) -> bool:
    """Whether `source` is a model and not a path."""
    return not isinstance(source, str | os.PathLike)


def save_live(model: Any, path: Path) -> str:
    """Saves a model; returns the path."""
    if not hasattr(model, "save") or not hasattr(model, "get_config"):
        raise SurgeryError(
            "source: expected the path of a `.keras` file or a Keras model; received "
            f"{type(model).__name__}."
        )
    if not getattr(model, "built", True):
        raise SurgeryError(
            "source: the model is not built, so it has no weights yet. Expected: a "
            "model that was called, or `model.build(input_shape)`."
        )
    model.save(path)
    return str(path)


def through_archive(
    model: Any,
    target: str | None,
    operate: Callable[[str, str], Report],
    finish: Callable[[Any, Plan, str], Any],
) -> Report:
    """Saves `model`, operates on the file, and makes a model of the result.

    `operate` takes the file to read and the file to write; without a target, that one
    is not kept. `finish` takes the model, the plan and the written file.
    """
    with tempfile.TemporaryDirectory(prefix="keras_padsafe_") as folder:
        saved, made = Path(folder, "saved.keras"), Path(folder, "made.keras")
        written = str(made) if target is None else target
        report = operate(save_live(model, saved), written)
        result = finish(model, report.plan, written)
    kept = Path(written) if target is not None else None
    return replace(report, source=None, target=kept, model=result)


def load_anew(model: Any, plan: Plan, written: str) -> Any:
    """A new model from the file; `model` stays what it is."""
    import keras

    # The model is the caller's own: what it runs on loading it ran before.
    return keras.models.load_model(written, safe_mode=False)
