"""Every name in facts/ is a class of Keras, of ours, or of KerasHub."""

import importlib
import inspect
import pkgutil
from typing import Any

import keras
import pytest

import keras_padsafe as kp
from keras_padsafe.facts import operations
from keras_padsafe.facts.optimizer_layout import layout_of
from keras_padsafe.facts.rules import _RULES, rule_of


def _operations_of_keras() -> set[str]:
    import keras.src.ops as package

    names: set[str] = set()
    for module in pkgutil.iter_modules(package.__path__):
        if not module.name.endswith("_test"):
            names |= set(vars(importlib.import_module(f"keras.src.ops.{module.name}")))
    return names


ARGUMENTS = {"NAME_IDS"}
KNOWN = {*dir(keras.layers), *_operations_of_keras(), *dir(kp.layers)}
FACTS = {
    name: value
    for name, value in vars(operations).items()
    if name.isupper() and isinstance(value, frozenset | dict) and name not in ARGUMENTS
}


@pytest.mark.parametrize("name", FACTS)
def test_every_class_exists(name: str) -> None:
    assert not set(FACTS[name]) - KNOWN


def test_every_argument_that_names_ids_exists() -> None:
    arguments = {
        name
        for room in (keras.losses, keras.metrics)
        for made in vars(room).values()
        if isinstance(made, type)
        for name in inspect.signature(made.__init__).parameters
    }
    assert arguments >= operations.NAME_IDS


def test_every_layer_of_keras_that_ids_index_has_a_rule() -> None:
    tables = {
        f"keras>{name}"
        for name, value in vars(keras.layers).items()
        if isinstance(value, type) and issubclass(value, keras.layers.Embedding)
    }
    assert tables
    assert all(rule_of(key) for key in tables)


def test_every_rule_is_about_a_class_that_exists() -> None:
    keras_hub: Any = pytest.importorskip("keras_hub")
    packages = {"keras": keras, "keras_padsafe": kp, "keras_hub": keras_hub}
    for key in _RULES:
        package, _, name = key.partition(">")
        assert hasattr(packages[package].layers, name), key


def test_layouts_are_those_of_keras() -> None:
    for name in dir(keras.optimizers):
        made = getattr(keras.optimizers, name)
        if not isinstance(made, type) or layout_of(name, {}) is None:
            continue
        optimizer = made()
        layout = layout_of(name, optimizer.get_config())
        if layout is None:
            continue
        weights = [keras.Variable([[1.0, 2.0]]), keras.Variable([3.0])]
        optimizer.build(weights)
        slots = layout.slots(len(optimizer.variables))
        assert slots is not None, name
        assert len(slots) in (0, len(weights)), name
        for pairs, weight in zip(slots, weights, strict=False):
            for index, _ in pairs:
                assert optimizer.variables[index].shape == weight.shape, name
