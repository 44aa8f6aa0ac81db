"""Which arrays ids index inside the layers of a skeleton, and whose ids they are."""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import keras

from keras_padsafe.compat import compute_output_spec
from keras_padsafe.facts.operations import COLUMNS
from keras_padsafe.skeleton.build import Skeleton
from keras_padsafe.skeleton.on_ids import indexed_rows
from keras_padsafe.skeleton.watch_indexed import (
    Indexing,
    watch_columns,
    watch_indexed,
)
from keras_padsafe.skeleton.without_values import without_values

_STEPS = 5


@dataclass(frozen=True)
class Inside:
    """What was seen of the ids inside a model.

    Attributes:
        tables: The axis that ids index, for each array that they do, by path in the
            weights file.
        positions: Those of which no ids come with the batch: a layer makes them, as
            the numbers of positions.
        together: Arrays that the very same ids index.
        direct: Those that all ids which a layer is called on index, as they are.
        columns: How many columns are made of ids, by the group of the layer that does.
        names: The attribute by which each layer is held, or the name that it was given,
            by its group of that file.
    """

    tables: dict[str, int]
    positions: frozenset[str]
    together: frozenset[frozenset[str]]
    direct: frozenset[str]
    columns: dict[str, set[int]]
    names: dict[str, str]


def look_inside(skeleton: Skeleton) -> Inside:
    """Calls each layer that holds arrays, without values, and watches what ids index.

    Each is called twice, on inputs that differ in the size of the batch. Ids that have
    one shape all the same do not come with the batch.
    """
    paths = {id(variable): path for path, variable in skeleton.variables.items()}
    tables = dict.fromkeys(sorted(skeleton.tables), 0)
    positions: set[str] = set()
    together: set[frozenset[str]] = set()
    direct: set[str] = set()
    columns: dict[str, set[int]] = {}
    for group, layer in skeleton.objects.items():
        for holder, width in _columns(group, layer):
            columns.setdefault(holder, set()).add(width)
        for inputs in _inputs(layer, skeleton):
            with watch_columns(columns.setdefault(group, set())):
                first, second = _watch(layer, inputs, 2), _watch(layer, inputs, 3)
            seen = first.keys() & paths.keys()
            tables |= {paths[key]: first[key][0].axis for key in seen}
            for key in seen & second.keys():
                if _shapes(first[key]) == _shapes(second[key]):
                    positions.add(paths[key])
            together |= set(_together(first, paths))
            known = {paths[key] for key in seen} - positions
            is_whole = layer is skeleton.model and (known or hasattr(layer, "inputs"))
            rows = {} if is_whole else indexed_rows(layer, inputs)
            if not ((first and second) or rows):
                continue
            weights = [paths.get(id(weight)) for weight in layer.weights]
            shown = {path: one for n, one in rows.items() if (path := weights[n])}
            direct |= {path for path, (_, everywhere) in shown.items() if everywhere}
            tables |= {} if known else {path: axis for path, (axis, _) in shown.items()}
            break
    names = dict(_given_names(skeleton)) | dict(_attributes(skeleton))
    return Inside(
        tables,
        frozenset(positions),
        frozenset(together),
        frozenset(direct),
        columns,
        names,
    )


def _columns(group: str, layer: Any) -> Iterator[tuple[str, int]]:
    """How many columns of ids are made in a graph, or by a layer for what holds it."""
    for operation in getattr(layer, "operations", ()):
        key = COLUMNS.get(type(operation).__name__)
        if key and not isinstance(operation, keras.Layer):
            yield group, getattr(operation, key)
    if isinstance(layer, keras.layers.CategoryEncoding):
        yield group.rpartition("/")[0], layer.num_tokens


def _attributes(skeleton: Skeleton) -> Iterator[tuple[str, str]]:
    groups = {id(layer): group for group, layer in skeleton.objects.items()}
    for holder in skeleton.objects.values():
        own = vars(holder)  # PyTorch keeps modules in a dictionary of their own.
        for attribute, held in {**own, **own.get("_modules", {})}.items():
            if id(held) in groups and not attribute.startswith("_"):
                yield groups[id(held)], attribute


def _given_names(skeleton: Skeleton) -> Iterator[tuple[str, str]]:
    """The names that layers were given, where Keras would have given another."""
    for group, layer in skeleton.objects.items():
        name = getattr(layer, "name", None)
        if isinstance(name, str) and _plain(name) != _plain(group.rpartition("/")[2]):
            yield group, name


def _plain(name: str) -> str:
    """A name without its number: the class in small letters, if Keras gave it."""
    return re.sub("_[0-9]+$", "", name)


def _shapes(events: list[Indexing]) -> list[tuple[int, ...]]:
    return [tuple(getattr(event.ids, "shape", ())) for event in events]


def _together(
    seen: dict[int, list[Indexing]], paths: dict[int, str]
) -> Iterator[frozenset[str]]:
    by_ids: dict[int, set[str]] = {}
    for key in seen.keys() & paths.keys():
        for event in seen[key]:
            by_ids.setdefault(id(event.ids), set()).add(paths[key])
    yield from (frozenset(group) for group in by_ids.values() if len(group) > 1)


def _inputs(layer: Any, skeleton: Skeleton) -> Iterator[Any]:
    """What a layer takes, if it is called once in a graph or is the model itself.

    The layers of Keras itself hold no tables but their `Embedding`. Of a model that is
    no graph only the shapes of the inputs are known, so several types are tried.
    """
    if type(layer).__module__.startswith("keras.") or not hasattr(layer, "call"):
        return
    try:
        yield layer.input
        return
    except (AttributeError, ValueError):
        pass
    built = skeleton.config.get("build_config") or {}
    if layer is skeleton.model and "input_shape" in built:
        for dtype in ("int32", "float32"):
            with suppress(ValueError):  # It may have been built without a shape.
                yield keras.tree.map_shape_structure(
                    lambda shape, dtype=dtype: keras.KerasTensor(shape, dtype),
                    built["input_shape"],
                )


def _watch(layer: Any, inputs: Any, batch: int) -> dict[int, list[Indexing]]:
    """What ids index while the layer is called; nothing if it cannot be called so.

    Several inputs are one argument, or one each.
    """
    sized = _sized(inputs, batch)
    for arguments in ([sized], sized) if isinstance(sized, list) else ([sized],):
        with without_values(), watch_indexed() as seen:
            try:
                compute_output_spec(layer.call, *arguments)
            except Exception:  # A model's own code may raise anything.
                continue
        return seen
    return {}


def _sized(inputs: Any, batch: int) -> Any:
    def sized(tensor: Any) -> Any:
        shape = [batch, *(dim or _STEPS for dim in tensor.shape[1:])]
        return keras.KerasTensor(shape, tensor.dtype)

    return keras.tree.map_structure(sized, inputs)
