"""Hostile model files, built by code: none of them is large, each asks for much."""

import io
import itertools
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Config = dict[str, Any]
Arrays = Mapping[str, np.ndarray | tuple[int, ...]]
CORPUS: dict[str, Callable[[Path], Path]] = {}
TABLE = "layers/embedding/vars/0"


def hostile(build: Callable[[Path], Path]) -> Callable[[Path], Path]:
    """Adds a file to the corpus, under the name of what builds it."""
    CORPUS[build.__name__] = build
    return build


def model_file(
    path: Path,
    config: Config | bytes,
    arrays: Arrays | None = None,
    assets: Mapping[str, bytes] | None = None,
    labels: Mapping[str, str] | None = None,
) -> Path:
    """A `.keras` file of a configuration and arrays, written without Keras.

    Args:
        path: The file.
        config: config.json.
        arrays: Values, or a shape for an array that stores none, by path.
        assets: Contents by name.
        labels: The name that a group of the weights file bears.
    """
    weights = io.BytesIO()
    with h5py.File(weights, "w") as file:
        for group, name in (labels or {}).items():
            file.require_group(group).attrs["name"] = name
        for place, values in (arrays or {TABLE: np.zeros((10, 4), "f4")}).items():
            if isinstance(values, tuple):
                file.create_dataset(place, shape=values, dtype="<f4")
            else:
                file.create_dataset(place, data=values)
    text = config if isinstance(config, bytes) else json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.15.1"}')
        archive.writestr("config.json", text)
        archive.writestr("model.weights.h5", weights.getvalue())
        for name, contents in (assets or {}).items():
            archive.writestr(f"assets/{name}", contents)
    return path


def layer(class_name: str, name: str, module: str = "keras.layers", **c: Any) -> Config:
    config = {"name": name, **c}
    return {"module": module, "class_name": class_name, "config": config}


def ids(name: str = "ids") -> Config:
    return layer("InputLayer", name, batch_shape=[None, 4], dtype="int32")


def table(size: int = 10, dim: int = 4, name: str = "embedding") -> Config:
    return layer("Embedding", name, input_dim=size, output_dim=dim)


def sequential(*layers: Config, name: str = "model", **more: Any) -> Config:
    return {**layer("Sequential", name, "keras", layers=list(layers)), **more}


def healthy(path: Path, rows: int = 10) -> Path:
    """What all others are compared with: a table and nothing else."""
    values = np.arange(4 * rows, dtype="f4").reshape(rows, 4)
    return model_file(path, sequential(ids(), table(rows)), {TABLE: values})


def tensor(name: str, *shape: int) -> Config:
    config = {"shape": [None, *shape], "dtype": "int32", "keras_history": [name, 0, 0]}
    return {"class_name": "__keras_tensor__", "config": config}


def called(made: Config, *inputs: Any, times: int = 1) -> Config:
    """A layer of a Functional model, called with these arguments."""
    nodes = [{"args": list(inputs), "kwargs": {}}] * times if inputs else []
    return {**made, "name": made["config"]["name"], "inbound_nodes": nodes}


def functional(*layers: Config) -> Config:
    ends = {"input_layers": [["ids", 0, 0]], "output_layers": [["embedding", 0, 0]]}
    return layer("Functional", "model", "keras", layers=list(layers), **ends)


@hostile
def ids_that_go_two_ways_again_and_again(folder: Path) -> Path:
    names = ["ids", *(f"c{number}" for number in range(40))]
    joined = [
        called(layer("Concatenate", after), [tensor(before, 4)] * 2)
        for before, after in itertools.pairwise(names)
    ]
    config = functional(called(ids()), *joined, called(table(), tensor(names[-1], 4)))
    return model_file(folder / "a.keras", config)


@hostile
def a_table_that_is_called_again_and_again(folder: Path) -> Path:
    config = functional(called(ids()), called(table(), tensor("ids", 4), times=7000))
    return model_file(folder / "a.keras", config)


@hostile
def columns_beside_columns(folder: Path) -> Path:
    code = layer("CategoryEncoding", "code", num_tokens=10, output_mode="one_hot")
    names = ["code", *(f"c{number}" for number in range(30))]
    joined = [
        called(layer("Concatenate", after, axis=-1), [tensor(before, 10)] * 2)
        for before, after in itertools.pairwise(names)
    ]
    dense = layer("Dense", "embedding", units=4)
    config = functional(
        called(ids()),
        called(code, tensor("ids", 4)),
        *joined,
        called(dense, tensor(names[-1], 10 << 30)),
    )
    return model_file(
        folder / "a.keras", config, {"layers/dense/vars/0": np.zeros((10, 4), "f4")}
    )


@hostile
def columns_of_steps_without_end(folder: Path) -> Path:
    code = layer("CategoryEncoding", "code", num_tokens=10, output_mode="one_hot")
    config = functional(
        called(ids()),
        called(code, tensor("ids", 4)),
        called(layer("Flatten", "flat"), tensor("code", 1 << 40, 10)),
        called(layer("Dense", "embedding", units=4), tensor("flat", 10 << 40)),
    )
    return model_file(
        folder / "a.keras", config, {"layers/dense/vars/0": np.zeros((10, 4), "f4")}
    )


@hostile
def ids_that_store_no_bytes(folder: Path) -> Path:
    size = 1 << 27
    config = sequential(ids(), table(size, 0))
    return model_file(folder / "a.keras", config, {TABLE: (size, 0)})


@hostile
def shared_models_that_double(folder: Path) -> Path:
    inner = sequential(ids("i"), name="m0", shared_object_id=1000)
    for depth in range(34):
        again = sequential(name=f"m{depth}", shared_object_id=1000 + depth)
        inner = sequential(
            inner, again, name=f"m{depth + 1}", shared_object_id=1001 + depth
        )
    return model_file(folder / "a.keras", sequential(ids(), table(), inner))


@hostile
def a_chain_of_shared_models(folder: Path) -> Path:
    layers = [ids(), table(), sequential(ids("i"), name="m0", shared_object_id=1000)]
    for depth in range(350):
        inner = sequential(name=f"m{depth}", shared_object_id=1000 + depth)
        around = [ids(f"i{depth}"), inner]
        layers.append(
            sequential(*around, name=f"m{depth + 1}", shared_object_id=1001 + depth)
        )
    return model_file(folder / "a.keras", sequential(*layers))


@hostile
def brackets(folder: Path) -> Path:
    text = json.dumps(sequential(ids(), table())).encode()
    many = b'{"x": [' + b"[]," * 300_000 + b"[]], " + text[1:]
    return model_file(folder / "a.keras", many)


@hostile
def brackets_inside_brackets(folder: Path) -> Path:
    text = json.dumps(sequential(ids(), table())).encode()
    deep = b'{"x": ' + b"[" * 50_000 + b"]" * 50_000 + b", " + text[1:]
    return model_file(folder / "a.keras", deep)


@hostile
def many_layers(folder: Path) -> Path:
    layers = [{"module": "keras.layers", "class_name": "Dropout", "config": {}}] * 8000
    return model_file(folder / "a.keras", sequential(ids(), table(), *layers))


@hostile
def many_tables(folder: Path) -> Path:
    tables = [table(10, 1, f"t{number}") for number in range(300)]
    arrays = {
        f"layers/embedding{f'_{n}' if n else ''}/vars/0": np.zeros((10, 1), "f4")
        for n in range(len(tables))
    }
    return model_file(folder / "a.keras", sequential(ids(), *tables), arrays)


@hostile
def groups_that_are_looked_for_by_name(folder: Path) -> Path:
    layers = [layer("Dense", f"x{number}", units=1) for number in range(300)]
    places = [f"layers/other_{number}/vars" for number in range(300)]
    arrays: dict[str, Any] = {f"{place}/0": np.zeros(1, "f4") for place in places}
    arrays[TABLE] = np.zeros((10, 4), "f4")
    labels = {place: f"x{number}" for number, place in enumerate(places)}
    config = sequential(ids(), table(), *layers)
    return model_file(folder / "a.keras", config, arrays, labels=labels)


@hostile
def slots_without_a_number(folder: Path) -> Path:
    adam = {"module": "keras.optimizers", "class_name": "SGD", "config": {}}
    config = sequential(ids(), table(), compile_config={"optimizer": adam})
    values = np.zeros((10, 4), "f4")
    slots = {f"optimizer/vars/{name}": values for name in ("0", "x", "²")}
    return model_file(folder / "a.keras", config, {TABLE: values, **slots})


@hostile
def words_that_are_no_text(folder: Path) -> Path:
    lookup = layer("StringLookup", "lookup", num_oov_indices=1, output_mode="int")
    config = sequential(ids(), lookup, table(3))
    name = "layers/string_lookup/vocabulary.txt"
    arrays = {TABLE: np.zeros((3, 4), "f4")}
    labels = {"layers/string_lookup/vars": "lookup"}
    return model_file(folder / "a.keras", config, arrays, {name: b"a\n\xff"}, labels)


@hostile
def rules_of_text_that_are_no_rules(folder: Path) -> Path:
    split = layer(
        "TextVectorization",
        "split",
        vocabulary=["a", "b"],
        standardize=7,
        split=[],
        output_mode="int",
    )
    arrays = {TABLE: np.zeros((5, 4), "f4")}
    return model_file(folder / "a.keras", sequential(ids(), split, table(5)), arrays)


@hostile
def names_that_steer_a_terminal(folder: Path) -> Path:
    name = "a\x1b[2J\u202eb"
    return model_file(folder / "a.keras", sequential(ids(), table(name=name)))


@hostile
def a_name_without_end(folder: Path) -> Path:
    name = "x" * 400_000
    return model_file(folder / "a.keras", sequential(ids(), table(name=name)))
