"""Builds a model from its config.json in Keras, with shapes and no values."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras

from keras_padsafe.compat import walk_saved
from keras_padsafe.skeleton.without_values import ShapeOnly, without_values


class NotBuilt(Exception):
    """Keras cannot build the model of a configuration; the message is Keras's."""


@dataclass(frozen=True, eq=False)
class Skeleton:
    """A model as Keras builds it from a configuration, without values.

    Attributes:
        model: The model; it cannot be run.
        shapes: The shape of every array that its file would hold, by the path in the
            weights file, those of the optimizer among them.
        variables: The variable behind each array, where one stands behind it.
        objects: Each layer, and whatever else is saved, by its group of that file.
        config: What `model.save` would write into config.json.
    """

    model: Any
    shapes: dict[str, tuple[int, ...]]
    variables: dict[str, Any]
    objects: dict[str, Any]
    config: dict[str, Any]


def build(config: dict[str, Any]) -> Skeleton:
    """The skeleton of a config.json; no value is made and no code of the file is run.

    Args:
        config: The content of config.json; not modified.

    Raises:
        NotBuilt: if Keras cannot build it.
    """
    with without_values():
        try:
            model = keras.saving.deserialize_keras_object(_unbuilt(config))
            optimizer = getattr(model, "optimizer", None)
            if optimizer is not None and not optimizer.built:
                optimizer.build(model.trainable_variables)
            objects = dict(walk_saved(model))
            stored = {path: array for path, array in _stored(objects)}
            written = keras.saving.serialize_keras_object(model)
        except Exception as error:
            raise NotBuilt(f"{type(error).__name__}: {error}") from error
    return Skeleton(
        model=model,
        shapes={path: tuple(array.shape) for path, array in stored.items()},
        variables={
            path: array.variable if isinstance(array, ShapeOnly) else array
            for path, array in stored.items()
        },
        objects=objects,
        config=written,
    )


def _stored(objects: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """What each object saves, by the path that it gets."""
    for group, saved in objects.items():
        if hasattr(saved, "save_own_variables"):
            store: dict[str, Any] = {}
            saved.save_own_variables(store)
            for name, array in store.items():
                yield (f"{group}/vars/{name}" if group else f"vars/{name}"), array


def _unbuilt(config: dict[str, Any]) -> dict[str, Any]:
    """A copy, in which no layer of a graph says with which shapes it was built.

    The calls of the graph build it; a record of an older shape would come first.
    """
    config = copy.deepcopy(config)
    pending: list[Any] = [config]
    while pending:
        value = pending.pop()
        if isinstance(value, list):
            pending.extend(value)
        elif isinstance(value, dict):
            pending.extend(value.values())
            layers = value.get("layers")
            if isinstance(layers, list):
                for layer in layers:
                    if isinstance(layer, dict):
                        layer.pop("build_config", None)
                value.pop("build_input_shape", None)
    return config
