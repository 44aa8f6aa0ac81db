"""Says that config.json holds what Keras never writes, or more than anyone builds."""

from typing import Any, TypeGuard

from keras_padsafe.errors import SurgeryError
from keras_padsafe.saved_model.config_path import ConfigPath, config_key


def malformed(
    owner: str, path: ConfigPath, expected: str, received: Any
) -> SurgeryError:
    """The error to raise; `owner` is a layer or model, as `"Dense 'head'"`."""
    place = f"{config_key(path)} of config.json" if path else "config.json"
    return SurgeryError(
        f"{owner}: {place} holds {shortly(received)}. Expected: "
        f"{expected}. The file was altered or damaged: load the model with Keras and "
        "save it again."
    )


def too_large(what: str) -> SurgeryError:
    """The error to raise for a model that would take too much time or room."""
    return SurgeryError(
        f"{what}. Expected: a model that a person could have built. If it is one, "
        "please report it."
    )


def shortly(value: Any) -> str:
    """A value as a message shows it."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def is_count(value: Any) -> TypeGuard[int]:
    """Whether a value is an integer that can count or number something."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
