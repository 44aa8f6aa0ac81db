"""One recorded run of a model, with Keras's own words about masks kept silent."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

from keras_padsafe.audit.masks.mask_recorder import MaskRecorder
from keras_padsafe.audit.run.run_model import run_model
from keras_padsafe.errors import MaskError


def record_masks(model: keras.layers.Layer, x: Any) -> MaskRecorder:
    """Runs a model, and once more if it says only later what was padding before."""
    if not isinstance(model, keras.layers.Layer):
        raise MaskError(
            "model: expected a Keras model or layer; received "
            f"{type(model).__name__}. A saved one is read with keras.saving.load_model."
        )
    recorder = MaskRecorder()
    run_model(model, x, recorder)
    if recorder.learnt_late:
        again = MaskRecorder(entering=recorder.learnt_late)
        run_model(model, x, again)
        return again
    return recorder


def check_padding_met(recorder: MaskRecorder) -> None:
    """Raises if there were masks, and no padding."""
    if recorder.masks_met and not recorder.padding_met:
        raise MaskError(
            "batch: no position is padding, so nothing can be seen of it. "
            "Expected: rows of different lengths, padded to one; received a batch "
            "whose masks are True everywhere. Add a shorter row."
        )


@contextmanager
def quiet() -> Iterator[None]:
    """While it lasts, Keras does not warn of masks: the trace records them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*destroy the mask information")
        yield
