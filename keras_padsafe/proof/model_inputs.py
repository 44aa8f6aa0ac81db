"""What a loaded model says of its inputs."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from keras_padsafe.proof.load_models import ModelFailed


@dataclass(frozen=True)
class ModelInput:
    """One input: `None` in its shape is any length, `""` any dtype."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str

    @property
    def is_text(self) -> bool:
        """Whether it takes text."""
        return self.dtype == "string"

    @property
    def kind(self) -> str:
        """What its values are: `"O"` for text, else as NumPy calls it."""
        return np.dtype(self.numpy_dtype).kind

    @property
    def numpy_dtype(self) -> str:
        """The dtype in which NumPy holds them."""
        if self.is_text:
            return "object"
        return "float32" if self.dtype == "bfloat16" else self.dtype

    @property
    def places(self) -> int:
        """How many values one row holds."""
        return math.prod(1 if dim is None else dim for dim in self.shape[1:])

    def of(self, steps: int, dtype: str) -> "ModelInput":
        """The same with every length and the dtype settled."""
        shape = tuple(steps if dim is None else dim for dim in self.shape[1:])
        return replace(self, shape=(self.shape[0], *shape), dtype=self.dtype or dtype)


def model_inputs(model: Any) -> Any:
    """The inputs in the structure in which the model takes them.

    Raises:
        ModelFailed: if neither the model nor its file says what they are.
    """
    import keras

    try:
        symbolic = model.input
    except AttributeError:  # A Sequential model that was never called has a list only.
        listed = getattr(model, "inputs", None)
        symbolic = listed[0] if listed and len(listed) == 1 else listed or None
    if symbolic is not None:
        return keras.tree.map_structure(
            lambda t: ModelInput(t.name, tuple(t.shape), str(t.dtype)), symbolic
        )
    config = model.get_build_config() or {}
    if isinstance(shapes := config.get("shapes_dict"), dict):
        # Arguments of `call`, each `NAME_shape`: only one can be given as it is.
        config = {"input_shape": next(iter(shapes.values()), None)}
    return _of_shapes("inputs", config.get("input_shape"))


def _of_shapes(name: str, shape: Any) -> Any:
    if not shape:
        raise ModelFailed(
            "the model does not say which inputs it takes, as Keras does not know with "
            "which shapes it was built. Build it by a call on a batch, or by "
            "`build(input_shape)`, and save it again."
        )
    if isinstance(shape, dict):
        return {key: _of_shapes(key, inner) for key, inner in shape.items()}
    if all(dim is None or isinstance(dim, int) for dim in shape):
        return ModelInput(name, tuple(shape), "")
    return [_of_shapes(f"{name}[{i}]", inner) for i, inner in enumerate(shape)]
