"""Builds a model from its config.json in Keras, with shapes and no values."""

import copy
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_padsafe.compat import (
    ObjectSharingScope,
    SafeModeScope,
    saved_arrays,
    settle_policy,
    walk_saved,
)
from keras_padsafe.errors import message_of
from keras_padsafe.facts.layers import records_shapes
from keras_padsafe.saved_model.config_path import walk_values
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
        tables: The arrays of `Embedding` layers.
        counters: How many words each lookup layer knows, and how many bins each
            Hashing has, by their groups.
        config: What `model.save` would write into config.json.
    """

    model: Any
    shapes: dict[str, tuple[int, ...]]
    variables: dict[str, Any]
    objects: dict[str, Any]
    tables: frozenset[str]
    counters: dict[str, int]
    config: dict[str, Any]


def build(config: dict[str, Any]) -> Skeleton:
    """The skeleton of a config.json; no value is made and no code of the file is run.

    Raises:
        NotBuilt: if Keras cannot build it.
    """
    with without_values(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with ObjectSharingScope(), SafeModeScope(True):
                model = keras.saving.deserialize_keras_object(_unbuilt(config))
            objects = dict(walk_saved(model))
            objects |= _optimizer(model, config)
            for layer in objects.values():
                settle_policy(layer)
            stored = dict(saved_arrays(objects.items()))
            counters = dict(_counters(objects))
            with ObjectSharingScope():
                written = keras.saving.serialize_keras_object(model)
        except (Exception, SystemExit) as error:
            raise NotBuilt(message_of(error)) from error
    variables = {
        path: array.variable if isinstance(array, ShapeOnly) else array
        for path, array in stored.items()
    }
    return Skeleton(
        model=model,
        shapes={path: tuple(np.shape(array)) for path, array in stored.items()},
        variables=variables,
        objects=objects,
        tables=frozenset(_tables(objects, variables)),
        counters=counters,
        config=written,
    )


def is_registered(name: str) -> bool:
    """Whether Keras knows the class of a registered name, as `"my_package>Table"`."""
    return keras.saving.get_registered_object(name) is not None


def serialized(layer: Any) -> dict[str, Any]:
    """A layer of a skeleton as config.json would describe it."""
    return keras.saving.serialize_keras_object(layer)


def _optimizer(model: Any, config: dict[str, Any]) -> dict[str, Any]:
    """The optimizer, built, and what is saved of it.

    A model whose class has a `compile` of its own is not compiled on loading; its
    configuration says all the same with which optimizer it was saved.
    """
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        compiled = config.get("compile_config") or {}
        optimizer = keras.saving.deserialize_keras_object(compiled.get("optimizer"))
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        return {}
    if not optimizer.built:
        optimizer.build(model.trainable_variables)
    saved = walk_saved(optimizer)
    return {f"optimizer/{path}".rstrip("/"): part for path, part in saved}


def _tables(objects: dict[str, Any], variables: dict[str, Any]) -> Iterator[str]:
    for path in variables:
        holder = objects[path.partition("vars/")[0].removesuffix("/")]
        if isinstance(holder, keras.layers.Embedding) and path.endswith("vars/0"):
            yield path


def _counters(objects: dict[str, Any]) -> Iterator[tuple[str, int]]:
    for group, saved in objects.items():
        if isinstance(saved, _LOOKUPS):
            yield group, int(saved.vocabulary_size())
        elif isinstance(saved, keras.layers.Hashing):
            yield group, int(saved.num_bins)


_LOOKUPS = (
    keras.layers.StringLookup,
    keras.layers.IntegerLookup,
    keras.layers.TextVectorization,
)


def _unbuilt(config: dict[str, Any]) -> dict[str, Any]:
    """A copy, in which no layer of a graph says with which shapes it was built.

    The calls of the graph build it, and what a layer of Keras wraps; a record of an
    older shape would come first.
    """
    config = copy.deepcopy(config)
    for _, value in walk_values(config):
        layers = value.get("layers") if isinstance(value, dict) else None
        if isinstance(layers, list):
            value.pop("build_input_shape", None)
            for layer in layers:
                _forget_shapes(layer)
    return config


def _forget_shapes(layer: Any) -> None:
    if isinstance(layer, dict):
        if records_shapes(layer.get("build_config")):
            del layer["build_config"]
        config = layer.get("config")
        if str(layer.get("module")).startswith("keras") and isinstance(config, dict):
            for value in config.values():
                for held in value if isinstance(value, list) else [value]:
                    _forget_shapes(held)
