"""What each layer makes of each position of one row, for a picture."""

from collections.abc import Container
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np

from keras_padsafe.audit.run.bad_values import floats_in, to_numpy
from keras_padsafe.audit.run.look import KnownMasks
from keras_padsafe.audit.run.model_runs import ModelRuns
from keras_padsafe.audit.run.watch import LayerCall, Observer
from keras_padsafe.compat import get_keras_mask
from keras_padsafe.types import Tensor

State = Literal["real", "masked", "unmasked", "nonfinite"]


@dataclass(frozen=True)
class PicturedLayer:
    """One layer's row of the picture.

    Attributes:
        path: The names of the layers that it was called in, and its own.
        kind: Its class.
        states: What its output is at each position: `"real"`; `"masked"`, padding that
            its mask hides; `"unmasked"`, padding that no mask hides any more;
            `"nonfinite"`. Empty if the output has no time axis.
        finite: Whether the row's whole output is finite.
    """

    path: str
    kind: str
    states: tuple[State, ...]
    finite: bool


@dataclass(frozen=True)
class LayerPicture:
    """One row of a batch on its way through a model.

    Attributes:
        row: Which row of the batch.
        layers: The layers in the order in which they ran.
    """

    row: int
    layers: tuple[PicturedLayer, ...]

    def to_json(self) -> dict[str, Any]:
        """The picture as plain data."""
        return {
            "row": self.row,
            "layers": [
                {
                    "path": layer.path,
                    "kind": layer.kind,
                    "states": list(layer.states),
                    "finite": layer.finite,
                }
                for layer in self.layers
            ],
        }


def layer_picture(
    model: keras.Model, x: Any, row: int, shown: Container[str] = ()
) -> LayerPicture:
    """Runs a batch once and keeps what becomes of one row.

    Args:
        model: The model; it stays as it is.
        x: One batch, as the model takes it.
        row: The row to look at.
        shown: Paths to show although they are parts of a layer, not of a model.
    """
    painter = _Painter(row, shown)
    ModelRuns(model, x).call(painter)
    return LayerPicture(row, tuple(painter.layers))


class _Painter(Observer):
    def __init__(self, row: int, shown: Container[str]) -> None:
        self.layers: list[PicturedLayer] = []
        self._row = row
        self._shown = shown
        self._known = KnownMasks()

    def enter(self, call: LayerCall) -> None:
        self._known.note_all((call.args, call.kwargs))

    def leave(self, call: LayerCall) -> None:
        self._known.note_all(call.outputs)
        inside = call.parent.layer if call.parent else None
        floats = floats_in(call.outputs)
        if floats and (isinstance(inside, keras.Model) or call.path in self._shown):
            self.layers.append(self._pictured(call, floats[0]))

    def _pictured(self, call: LayerCall, tensor: Tensor) -> PicturedLayer:
        values = to_numpy(tensor)[self._row]
        known = self._known.of(tensor)
        states: tuple[State, ...] = ()
        if known is not None:
            finite = np.isfinite(values).reshape(len(values), -1).all(axis=1)
            carried = get_keras_mask(tensor) is not None
            states = tuple(
                _state(bool(real), bool(good), carried)
                for real, good in zip(known[self._row], finite, strict=True)
            )
        return PicturedLayer(
            path=call.path,
            kind=type(call.layer).__name__,
            states=states,
            finite=bool(np.isfinite(values).all()),
        )


def _state(real: bool, finite: bool, carried: bool) -> State:
    if not finite:
        return "nonfinite"
    if real:
        return "real"
    return "masked" if carried else "unmasked"
