"""Padding-safe layers and vocabulary surgery for Keras 3."""

import importlib
from typing import TYPE_CHECKING, Any

from keras_padsafe.registration import register_with_keras
from keras_padsafe.version import __version__ as __version__

if TYPE_CHECKING:
    from keras_padsafe import archive as archive
    from keras_padsafe import audit as audit
    from keras_padsafe import callbacks as callbacks
    from keras_padsafe import data as data
    from keras_padsafe import errors as errors
    from keras_padsafe import initializers as initializers
    from keras_padsafe import layers as layers
    from keras_padsafe import losses as losses
    from keras_padsafe import metrics as metrics
    from keras_padsafe import ops as ops
    from keras_padsafe import surgery as surgery

_ROOMS = (
    "archive",
    "audit",
    "callbacks",
    "data",
    "errors",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "ops",
    "surgery",
)

register_with_keras()


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"keras_padsafe.{name}")
    raise AttributeError(f"module 'keras_padsafe' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_ROOMS])
