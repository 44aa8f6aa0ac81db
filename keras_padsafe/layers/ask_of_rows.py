"""What a layer makes of cut rows, asked of it on tensors without values."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
from keras import ops

from keras_padsafe.compat import compute_output_spec, inner_layers
from keras_padsafe.errors import PadsafeError
from keras_padsafe.types import Shape, Tensor

_UNKNOWN = 8  # Stands for a size that is not known yet.


class Answer(NamedTuple):
    """The output of a layer: its last axes, and the input whose positions it has."""

    features: Shape
    dtype: str
    follows: int | None


def ask_of_rows(
    run: Callable[..., Any],
    layer: keras.layers.Layer,
    inputs: Sequence[Any],
    masked: Sequence[bool],
    who: str,
) -> Answer:
    """Calls a layer on rows of two lengths, and sees what follows them.

    Args:
        run: Calls the layer with tensors and their masks.
        layer: The layer, built.
        inputs: The tensors that it will get, for their shapes.
        masked: Which of them are cut.
        who: The layer, as an error calls it.
    """
    shapes = [
        (2, *(_UNKNOWN if n is None else int(n) for n in x.shape[1:])) for x in inputs
    ]
    # Each sequence changes by an amount of its own.
    steps = [
        0 if not cut else -n if shape[1] > n else n
        for n, (shape, cut) in enumerate(zip(shapes, masked, strict=True), 1)
    ]
    changed = [
        (2, shape[1] + step, *shape[2:]) if step else shape
        for shape, step in zip(shapes, steps, strict=True)
    ]

    def watched(*tensors: Tensor) -> Any:
        masks = [
            ops.ones(x.shape[:2], "bool") if cut else None
            for x, cut in zip(tensors, masked, strict=True)
        ]
        with keras.StatelessScope(collect_losses=True) as scope:
            output = run(tensors, masks)
        _refuse_state(layer, scope, who)
        return output

    outputs = []
    for given in (shapes, changed):
        specs = [
            keras.KerasTensor(shape, x.dtype)
            for shape, x in zip(given, inputs, strict=True)
        ]
        try:
            outputs.append(compute_output_spec(watched, *specs))
        except PadsafeError:
            raise
        except Exception as error:
            raise PadsafeError(
                f"{who} cannot run on {' and '.join(map(str, given))}. It gets rows "
                "cut to their real tokens, so it must take sequences of any length: "
                "build a model with `keras.Input((None, ...))`, and give each input "
                f"that runs along a sequence the mask of that. It said: {error}"
            ) from error
    return _compare(outputs[0], outputs[1], shapes, steps, who)


def _compare(
    first: Any,
    second: Any,
    shapes: list[tuple[int, ...]],
    steps: list[int],
    who: str,
) -> Answer:
    if not isinstance(first, keras.KerasTensor):
        given = keras.tree.map_structure(lambda x: tuple(x.shape), first)
        raise PadsafeError(f"{who} must return one tensor. Received: {given}.")
    if first.shape == second.shape:
        return Answer(first.shape[1:], first.dtype, None)
    for number, (shape, step) in enumerate(zip(shapes, steps, strict=True)):
        longer = (2, shape[1] + step, *first.shape[2:])
        if step and first.shape[1] == shape[1] and second.shape == longer:
            return Answer(first.shape[2:], first.dtype, number)
    raise PadsafeError(
        f"{who} must return a position for each of one of its inputs, or none at all. "
        f"Received: {tuple(first.shape)} for {' and '.join(map(str, shapes))}, a batch "
        "of 2."
    )


def _refuse_state(layer: keras.layers.Layer, scope: Any, who: str) -> None:
    for inner in reversed(inner_layers(layer)):  # What holds others comes first.
        own = (*inner._trainable_variables, *inner._non_trainable_variables)
        own = (*own, *inner.metrics_variables)
        moved = [v.path for v in own if scope.get_current_value(v) is not None]
        if moved:
            raise PadsafeError(
                f"{who} holds {inner.name!r} ({type(inner).__name__}), which changes "
                f"{', '.join(moved)} by what it sees of a batch, and would see a few "
                "rows at a time. Keep it outside, or freeze it: "
                "`layer.trainable = False`."
            )
    if scope.losses:
        raise PadsafeError(
            f"{who} adds losses taken from its outputs (`add_loss`, "
            "`activity_regularizer`), which would be those of groups of rows and not "
            "of the batch. Take them outside."
        )
