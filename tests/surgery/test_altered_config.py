"""Whatever stands in config.json: a plan, or an error that says what is wrong."""

import copy
import json
import random
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_padsafe as kp
from keras_padsafe.errors import PadsafeError, SurgeryError

from .reference import only_once, save
from .saved import Place
from .zoo import DIM, SIZE, ids, table

pytestmark = only_once

VALUES: list[Any] = [
    *(None, True, -1, 0, 3, SIZE, 10**12, 1.5, "", "x", [], {}),
    *([1], ["x"], [[]], [["x", 0]], {"x": 1}, ["x", 0, 0], ["words", -1, 0]),
]
MUTATIONS = 120


def _nested(size: int) -> keras.Model:
    x = ids()
    inner = keras.Model(x, table(size)(x), name="inner")
    outer = ids("outer")
    h = layers.TimeDistributed(layers.Dense(DIM))(inner(outer))
    logits = layers.EinsumDense(
        "btd,dv->btv", (None, size), bias_axes="v", name="head"
    )(h)
    model = keras.Model(outer, [layers.Softmax()(logits), inner(outer)])
    model.compile("adagrad", "mse")
    model.optimizer.build(model.trainable_variables)
    return model


def _with_words(size: int) -> keras.Model:
    pytest.importorskip("tensorflow")
    x = keras.Input((4,), dtype="string", name="text")
    words = [f"w{number}" for number in range(size - 1)]
    lookup = layers.StringLookup(vocabulary=words, name="lookup")
    h = layers.Dense(DIM)(kp.layers.ExtendableEmbedding(size, DIM, pad_id=0)(lookup(x)))
    return keras.Model(x, layers.Dense(size, name="head")(h))


def _sequential(size: int) -> keras.Model:
    return keras.Sequential([ids(), table(size), layers.LSTM(6), layers.Dense(size)])


def _with_arrays(size: int) -> keras.Model:
    x = ids("given")
    marked = ops.not_equal(x, ops.convert_to_tensor(0))
    units = layers.Dense(size)(table(size)(x))
    return keras.Model(x, [marked, units + np.ones(size)])


MODELS = [_nested, _with_words, _sequential]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    folders: dict[str, Path] = {}

    def folder(build: Callable[[int], keras.Model]) -> Path:
        if build.__name__ not in folders:
            path = tmp_path_factory.mktemp(build.__name__)
            save(build, SIZE, path / "model.keras")
            with zipfile.ZipFile(path / "model.keras") as archive:
                archive.extractall(path / "model")
            text = (path / "model" / "config.json").read_text()
            (path / "config.json").write_text(text)
            folders[build.__name__] = path / "model"
        return folders[build.__name__]

    return folder


def _original(folder: Path) -> Any:
    return json.loads((folder.parent / "config.json").read_text())


def _plan(folder: Path, config: Any) -> None:
    (folder / "config.json").write_text(json.dumps(config))
    kp.surgery.plan(folder, rows=1).to_json()


def _places(value: Any, place: Place = ()) -> Iterator[Place]:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield (*place, key)
        if isinstance(inner, dict | list):
            yield from _places(inner, (*place, key))


def _set(config: Any, place: Place, value: Any) -> None:
    for key in place[:-1]:
        config = config[key]
    config[place[-1]] = copy.deepcopy(value)


@pytest.mark.parametrize("build", MODELS)
def test_one_altered_value(
    build: Callable[[int], keras.Model], saved: Callable[..., Path]
) -> None:
    """The values and places come from a fixed seed: a failure comes back."""
    folder = saved(build)
    original = _original(folder)
    generator, places = random.Random(0), list(_places(original))
    refused = 0
    for _ in range(MUTATIONS):
        config = copy.deepcopy(original)
        place, value = generator.choice(places), generator.choice(VALUES)
        _set(config, place, value)
        try:
            _plan(folder, config)
        except PadsafeError:
            refused += 1
        except Exception as error:
            raise AssertionError(f"{place} = {value!r}") from error
    assert 0 < refused < MUTATIONS


@pytest.mark.parametrize("build", MODELS)
def test_one_missing_key(
    build: Callable[[int], keras.Model], saved: Callable[..., Path]
) -> None:
    folder = saved(build)
    original = _original(folder)
    for place in _places(original):
        if place[-1] in ("input_layers", "output_layers", "keras_history", "shape"):
            config = copy.deepcopy(original)
            holder = config
            for key in place[:-1]:
                holder = holder[key]
            del holder[place[-1]]
            with suppress(PadsafeError):
                _plan(folder, config)


_TENSOR = ("config", "layers", 1, "inbound_nodes", 0, "args", 0, "config")
ALTERED = {
    "input_layers": (
        ("config", "input_layers"),
        [["nobody", 0, 0]],
        r"input_layers name 'nobody'.*Save the model again with Keras",
    ),
    "keras_history": (
        (*_TENSOR, "keras_history"),
        ["outer", 0, -1],
        r"Functional 'inner': config\.layers\[1\]\.inbound_nodes\[0\]\.args\[0\]"
        r"\.config\.keras_history of config\.json holds \['outer', 0, -1\]\. Expected: "
        r"a triple.*save it again",
    ),
    "output_layers": (("config", "output_layers"), 5, "output_layers .* holds 5"),
    "inbound_nodes": (
        ("config", "layers", 1, "inbound_nodes"),
        {"x": 1},
        r"inbound_nodes of config\.json holds .* Expected: a list of calls",
    ),
    "shared_object_id": (
        ("config", "layers", 1, "shared_object_id"),
        [1],
        r"shared_object_id of config\.json holds \[1\]. Expected: an integer",
    ),
    "bias_axes": (
        ("config", "layers", 3, "config", "bias_axes"),
        7,
        r"EinsumDense 'head': .*bias_axes of config\.json holds 7\. Expected: text",
    ),
    "optimizer": (
        ("compile_config", "optimizer", "config", "initial_accumulator_value"),
        "x",
        r"initial_accumulator_value .* holds 'x'\. Expected: a number",
    ),
    "compile_config": (("compile_config",), [1], "compile_config .* a dictionary"),
}


@pytest.mark.parametrize("name", ALTERED)
def test_says_what_is_wrong(name: str, saved: Callable[..., Path]) -> None:
    place, value, message = ALTERED[name]
    folder = saved(_nested)
    config = _original(folder)
    _set(config, place, value)
    with pytest.raises(SurgeryError, match=f"(?s){message}"):
        _plan(folder, config)


def test_layer_that_claims_to_be_the_model_around_it(
    saved: Callable[..., Path],
) -> None:
    folder = saved(_nested)
    config = _original(folder)
    config["shared_object_id"] = config["config"]["layers"][1]["shared_object_id"] = 1
    with pytest.raises(SurgeryError, match="a layer cannot hold itself"):
        _plan(folder, config)


@pytest.mark.parametrize("value", [None, 3, [], {}])
@pytest.mark.parametrize("operation", ["NotEqual", "Add"])
def test_an_array_that_an_operation_holds(
    operation: str, value: Any, saved: Callable[..., Path]
) -> None:
    folder = saved(_with_arrays)
    config = _original(folder)
    described = config["config"]["layers"]
    layer = next(one for one in described if one["class_name"] == operation)
    held = layer["inbound_nodes"][0]["args"][1]
    assert held["class_name"] in ("__tensor__", "__numpy__")
    held["config"] = value
    with suppress(SurgeryError):
        _plan(folder, config)


@pytest.mark.parametrize("value", ["Dense", 0.5, [1], {"config": 3}])
def test_a_quantisation_that_is_none(value: Any, saved: Callable[..., Path]) -> None:
    folder = saved(_sequential)
    config = _original(folder)
    inner = config["config"]["layers"][-1]["config"]
    inner |= {"dtype": "int8_from_float32", "quantization_config": value}
    with suppress(SurgeryError):
        _plan(folder, config)


@pytest.mark.parametrize("number", ["x", -1, 10**12, 1.5])
def test_number_of_unknown_words(number: Any, saved: Callable[..., Path]) -> None:
    folder = saved(_with_words)
    config = _original(folder)
    config["config"]["layers"][1]["config"]["num_oov_indices"] = number
    with pytest.raises(SurgeryError, match=r"(?s)'lookup'.*num_oov_indices.*from 0 to"):
        _plan(folder, config)
