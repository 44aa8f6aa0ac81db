"""Every name in facts/ is a class of Keras, of ours, or of KerasHub."""

import importlib
import inspect
import pkgutil
import re
import sys
from typing import Any

import keras
import numpy as np
import pytest

import keras_padsafe as kp
from keras_padsafe.compat import get_keras_mask, saved_arrays, walk_saved
from keras_padsafe.facts import advice, masks, operations, swaps
from keras_padsafe.facts.layers import LIVE_NAMES, SAME_AS, TABLES, UNTRAINED_AT_END
from keras_padsafe.facts.optimizer_layout import MOVES_ALL, slots_of
from keras_padsafe.facts.rules import _RULES, rule_of


def _operations_of_keras() -> set[str]:
    import keras.src.ops as package

    names: set[str] = set()
    for module in pkgutil.iter_modules(package.__path__):
        if not module.name.endswith("_test"):
            names |= set(vars(importlib.import_module(f"keras.src.ops.{module.name}")))
    return names


STEPS, WIDTH = 6, 11
OPTIMIZERS = [
    name
    for name, made in vars(keras.optimizers).items()
    if isinstance(made, type) and name != "Optimizer"
    if "learning_rate" in inspect.signature(made).parameters
]
ARGUMENTS = {
    "NAME_IDS",
    "COUNT_UNITS",
    "WEIGH_UNITS",
    "ZERO_ACTIVATIONS",
    "ACTIVATIONS",
}
KNOWN = {*dir(keras.layers), *_operations_of_keras(), *dir(kp.layers)}
FACTS = {
    name: value
    for room in (operations, masks, swaps)
    for name, value in vars(room).items()
    if name.isupper() and isinstance(value, frozenset | dict)
    if name not in ARGUMENTS | {"OURS"} and not name.startswith("_")
} | {"TABLES": TABLES, "UNTRAINED_AT_END": UNTRAINED_AT_END}


@pytest.mark.parametrize("name", FACTS)
def test_every_class_exists(name: str) -> None:
    assert not set(FACTS[name]) - KNOWN


@pytest.mark.parametrize("facts", [swaps.OURS, advice.INSTEAD], ids=["ours", "advice"])
def test_every_class_that_is_met_in_code_exists(facts: Any) -> None:
    """A file may say another name than the class itself has."""
    rooms = [keras.layers, kp.layers]
    keras_hub = sys.modules.get("keras_hub") or pytest.importorskip("keras_hub")
    live = {
        made.__name__
        for room in [*rooms, keras_hub.layers]
        for made in vars(room).values()
        if isinstance(made, type)
    }
    assert not set(facts) - live - _operations_of_keras()
    for stock, name in LIVE_NAMES.items():
        assert getattr(keras.layers, stock).__name__ == name


def test_what_a_feature_space_puts_into_a_model_exists() -> None:
    room = sys.modules[keras.utils.FeatureSpace.__module__]
    assert all(issubclass(getattr(room, name), keras.Layer) for name in SAME_AS)
    assert {*SAME_AS.values()} <= KNOWN


def test_what_takes_the_place_of_a_class_exists() -> None:
    for ours in swaps.OURS.values():
        _, room, name = ours.split(".")
        assert hasattr(getattr(kp, room), name), ours


def _masked(wide: int = 4) -> Any:
    ids = keras.Input((STEPS,), dtype="int32")
    return keras.layers.Embedding(9, wide, mask_zero=True)(ids)


@pytest.mark.parametrize("name", TABLES)
def test_a_table_makes_vectors_of_ids_and_a_mask_if_it_is_told(name: str) -> None:
    room = kp.layers if name == "ExtendableEmbedding" else keras.layers
    told = {"pad_id": 0} if room is kp.layers else {"mask_zero": True}
    for options in ({}, told):
        made = getattr(room, name)(9, 4, **options)(np.array([[1, 2, 0]]))
        assert made.shape == (1, 3, 4)
        assert (get_keras_mask(made) is not None) == bool(options)


def test_every_table_of_keras_is_one() -> None:
    found = {
        name
        for name, made in vars(keras.layers).items()
        if isinstance(made, type) and issubclass(made, keras.layers.Embedding)
    }
    assert found <= TABLES


@pytest.mark.filterwarnings("ignore:.*destroy the mask information")
@pytest.mark.parametrize("name", sorted(masks.KEEPS - {"ReversibleEmbedding"}))
def test_what_keeps_a_mask_does(name: str) -> None:
    x = _masked()
    needed: dict[str, tuple[Any, ...]] = {
        "Activation": ("relu",),
        "AlphaDropout": (0.5,),
        "Dense": (3,),
        "Dropout": (0.5,),
        "GaussianDropout": (0.5,),
        "GaussianNoise": (0.5,),
        "GroupNormalization": (2,),
        "GroupQueryAttention": (4, 2, 1),
        "MaskedConv1D": (3, 2),
        "MaskedGroupedQueryAttention": (4, 2, 1),
        "MaskedMultiHeadAttention": (2, 4),
        "MultiHeadAttention": (2, 4),
        "Rescaling": (2.0,),
        "SpatialDropout1D": (0.5,),
    }
    made = getattr(keras.layers, name, None) or getattr(kp.layers, name)
    layer = made(*needed.get(name, ()))
    lists = name in ("Attention", "AdditiveAttention", "MaskedAttention")
    pair = "Query" in name or "MultiHead" in name
    y = layer([x, x]) if lists else layer(x, x) if pair else layer(x)
    assert get_keras_mask(y) is not None


@pytest.mark.parametrize("name", sorted(masks.MERGES | masks.KEEPS_ANY))
def test_what_merges_masks_keeps_that_of_all(name: str) -> None:
    made = getattr(keras.layers, name, None) or getattr(kp.layers, name)
    assert get_keras_mask(made()([_masked(), _masked()])) is not None


@pytest.mark.filterwarnings("ignore:.*destroy the mask information")
@pytest.mark.parametrize("name", sorted(operations.POOLING_OVER_TIME))
def test_what_leaves_no_step_leaves_no_mask(name: str) -> None:
    made = getattr(keras.layers, name, None) or getattr(kp.layers, name)
    y = made()(_masked())
    assert len(y.shape) == 2
    assert get_keras_mask(y) is None


@pytest.mark.parametrize("name", sorted(masks.OF_SEGMENTS))
def test_what_pools_segments_has_a_mask_of_them(name: str) -> None:
    segments = keras.ops.convert_to_tensor([[1, 2, 0], [1, 1, 1]])
    y = getattr(kp.layers, name)(2)([keras.ops.ones((2, 3, 4)), segments])
    mask = keras.ops.convert_to_numpy(get_keras_mask(y))
    assert mask.tolist() == [[True, True], [True, False]]


def test_every_argument_that_names_or_counts_ids_exists() -> None:
    arguments = {
        name
        for room in (keras.losses, keras.metrics)
        for made in vars(room).values()
        if isinstance(made, type)
        for name in inspect.signature(made.__init__).parameters
    }
    known = operations.NAME_IDS | operations.COUNT_UNITS | operations.WEIGH_UNITS
    assert arguments >= known


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


def _made(name: str) -> Any:
    """A layer of Keras with few arguments, an operation as a layer-like call."""
    needed: dict[str, Any] = {
        "Dense": (3,),
        "Conv1D": (3, 2),
        "Conv2D": (3, 2),
        "Conv3D": (3, 2),
        "LSTM": (3,),
        "GRU": (3,),
        "SimpleRNN": (3,),
        "SpatialDropout1D": (0.5,),
        "Dropout": (0.5,),
        "GaussianNoise": (0.5,),
        "GaussianDropout": (0.5,),
        "AveragePooling1D": (2,),
        "MaxPooling1D": (2,),
    }
    if name == "Bidirectional":
        return keras.layers.Bidirectional(keras.layers.LSTM(3))
    return getattr(keras.layers, name)(*needed.get(name, ()))


@pytest.mark.parametrize("name", operations.INPUT_KERNELS)
def test_input_kernels_are_all_that_follows_the_width_of_an_input(name: str) -> None:
    layer = _made(name)
    steps = [STEPS] * {"Conv2D": 2, "Conv3D": 3}.get(name, 1)
    layer.build((None, *steps, WIDTH))
    model = keras.Sequential([keras.Input((*steps, WIDTH)), layer])
    arrays = {
        path.removeprefix(f"layers/{layer.name.rstrip('_0123456789')}/"): [*array.shape]
        for path, array in saved_arrays(walk_saved(model))
    }
    found = {path: s.index(WIDTH) for path, s in arrays.items() if WIDTH in s}
    assert found == operations.INPUT_KERNELS[name]


@pytest.mark.parametrize("name", operations.ZERO_ACTIVATIONS)
def test_zero_activations_make_a_zero_of_a_zero(name: str) -> None:
    value = keras.activations.get(name)(keras.ops.zeros((2, 3)))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(value), 0)


@pytest.mark.parametrize(
    "name", operations.KEEPS_ZERO | operations.SUMS_UP_STEPS | operations.REDUCES
)
def test_columns_of_zeros_stay_so_and_change_no_other(name: str) -> None:
    values = np.random.default_rng(0).random((2, STEPS, WIDTH)).astype("float32")
    wider = np.concatenate([values, np.zeros((2, STEPS, 2), "float32")], -1)
    values, wider = map(keras.ops.convert_to_tensor, (values, wider))
    if hasattr(keras.layers, name) and name not in ("Multiply", "Identity"):
        layer = _made(name)
        before, after = layer(values), layer(wider)
    else:
        special = {"ReLU": "relu", "TrueDivide": "true_divide", "Identity": "copy"}
        operation = getattr(keras.ops, special.get(name, _snake(name)))
        more = {"Multiply": (2.0,), "Divide": (2.0,), "TrueDivide": (2.0,)}
        more |= {"Cast": ("float16",)} | dict.fromkeys(operations.REDUCES, (1,))
        before = operation(values, *more.get(name, ()))
        after = operation(wider, *more.get(name, ()))
    before, after = (keras.ops.convert_to_numpy(one) for one in (before, after))
    # Vectors of another width may be rounded in other steps.
    np.testing.assert_allclose(after[..., :WIDTH], before, rtol=1e-6)
    np.testing.assert_array_equal(after[..., WIDTH:], 0)


def _snake(name: str) -> str:
    return re.sub("(?<!^)(?=[A-Z])", "_", name).lower()


def test_which_optimizers_move_one_bias_by_the_others() -> None:
    def trained(name: str, values: list[float]) -> np.ndarray:
        optimizer = getattr(keras.optimizers, name)(0.01)
        bias = keras.Variable(values)
        for _ in range(3):
            gradient = np.zeros(len(values), "float32")
            gradient[:3] = [0.5, -0.3, 0.1]
            optimizer.apply([keras.ops.convert_to_tensor(gradient)], [bias])
        return keras.ops.convert_to_numpy(bias)

    start, spare, moving = [0.1, -0.2, 0.3], -32768.0, set()
    for name in OPTIMIZERS:
        alone, beside = trained(name, start), trained(name, [*start, spare])
        if not np.allclose(beside, [*alone, spare], rtol=1e-3):
            moving.add(name)
    assert moving == MOVES_ALL


def test_layouts_are_those_of_keras() -> None:
    for name in dir(keras.optimizers):
        made = getattr(keras.optimizers, name)
        if not isinstance(made, type) or slots_of(name, {}, 2) is None:
            continue
        optimizer = made()
        weights = [keras.Variable([[1.0, 2.0]]), keras.Variable([3.0])]
        optimizer.build(weights)
        count = len(optimizer.variables)
        slots = slots_of(name, optimizer.get_config(), count)
        assert slots is not None, name
        assert len(slots) in (0, len(weights)), name
        for pairs, weight in zip(slots, weights, strict=False):
            for index, _ in pairs:
                assert optimizer.variables[index].shape == weight.shape, name
