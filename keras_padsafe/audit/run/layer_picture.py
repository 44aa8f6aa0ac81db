"""What each layer makes of each position of one row, for a picture."""

from collections.abc import Container
from typing import Any

import keras
import numpy as np

from keras_padsafe.audit.run.bad_values import floats_in, to_numpy
from keras_padsafe.audit.run.look import KnownMasks
from keras_padsafe.audit.run.model_runs import ModelRuns
from keras_padsafe.audit.run.watch import LayerCall, Moment
from keras_padsafe.compat import get_keras_mask


def layer_picture(
    model: keras.Model, x: Any, row: int, shown: Container[str] = ()
) -> dict[str, Any]:
    """Runs a batch once and keeps what becomes of one row.

    Shown are the layers of models, and parts of layers whose paths are `shown`.

    Returns:
        Plain data: the row, and of each layer in order its path, its class, whether all
        of the row is finite in its output, and what that is at each position: `"real"`;
        `"masked"`, padding that its mask hides; `"unmasked"`, padding that no mask
        hides any more; `"nonfinite"`. No positions if the output has no time axis.
    """
    layers: list[dict[str, Any]] = []
    known = KnownMasks()

    def look(call: LayerCall, moment: Moment, structure: Any) -> None:
        known.note_all(structure)
        inside = call.parent.layer if call.parent else None
        pictured = isinstance(inside, keras.Model) or call.path in shown
        floats = floats_in(structure)
        if moment == "enter" or not pictured or not floats:
            return
        values, mask = to_numpy(floats[0])[row], known.of(floats[0])
        states: list[str] = []
        if mask is not None:
            finite = np.isfinite(values).reshape(len(values), -1).all(axis=1)
            padding = "unmasked" if get_keras_mask(floats[0]) is None else "masked"
            states = [
                ("real" if real else padding) if good else "nonfinite"
                for real, good in zip(mask[row], finite, strict=True)
            ]
        layers.append(
            {
                "path": call.path,
                "kind": type(call.layer).__name__,
                "states": states,
                "finite": bool(np.isfinite(values).all()),
            }
        )

    ModelRuns(model, x).call(look)
    return {"row": row, "layers": layers}
