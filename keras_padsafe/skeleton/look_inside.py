"""Which arrays ids index inside the layers of a skeleton, and whose ids they are."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras

from keras_padsafe.compat import compute_output_spec
from keras_padsafe.skeleton.build import Skeleton
from keras_padsafe.skeleton.indexed import watch_indexed
from keras_padsafe.skeleton.without_values import without_values

_STEPS = 5


@dataclass(frozen=True)
class Inside:
    """What was seen of the ids inside a model.

    Attributes:
        tables: The arrays whose first axis ids index, by path in the weights file.
        positions: Those of which no ids come with the batch: a layer makes them, as
            the numbers of positions.
        together: Arrays that the very same ids index.
    """

    tables: frozenset[str]
    positions: frozenset[str]
    together: frozenset[frozenset[str]]


def look_inside(skeleton: Skeleton) -> Inside:
    """Calls each layer that holds arrays, without values, and watches what ids index.

    Each is called twice, on inputs that differ in the size of the batch. Ids that have
    one shape all the same do not come with the batch.
    """
    paths = {id(variable): path for path, variable in skeleton.variables.items()}
    tables, positions = set(skeleton.tables), set[str]()
    together: set[frozenset[str]] = set()
    for layer in skeleton.objects.values():
        inputs = _inputs(layer, skeleton)
        if inputs is None:
            continue
        first, second = _watch(layer, inputs, 2), _watch(layer, inputs, 3)
        tables |= {paths[key] for key in first if key in paths}
        for key in first.keys() & second.keys() & paths.keys():
            if _shapes(first[key]) == _shapes(second[key]):
                positions.add(paths[key])
        together |= set(_together(first, paths))
    return Inside(frozenset(tables), frozenset(positions), frozenset(together))


def _shapes(ids: list[Any]) -> list[tuple[int, ...]]:
    return [tuple(getattr(each, "shape", ())) for each in ids]


def _together(
    seen: dict[int, list[Any]], paths: dict[int, str]
) -> Iterator[frozenset[str]]:
    by_ids: dict[int, set[str]] = {}
    for key, ids in seen.items():
        for each in ids:
            by_ids.setdefault(id(each), set()).add(paths.get(key, ""))
    yield from (frozenset(group) for group in by_ids.values() if len(group) > 1)


def _inputs(layer: Any, skeleton: Skeleton) -> Any:
    """What a layer takes, if it is called once in a graph or is the model itself.

    The layers of Keras itself hold no tables but their `Embedding`.
    """
    if type(layer).__module__.startswith("keras.") or not hasattr(layer, "call"):
        return None
    try:
        return layer.input
    except (AttributeError, ValueError):
        pass
    built = skeleton.config.get("build_config") or {}
    if layer is not skeleton.model or "input_shape" not in built:
        return None
    return keras.tree.map_shape_structure(
        lambda shape: keras.KerasTensor(shape, "int32"), built["input_shape"]
    )


def _watch(layer: Any, inputs: Any, batch: int) -> dict[int, list[Any]]:
    """The ids that index each variable while the layer is called."""
    with without_values(), watch_indexed() as seen:
        try:
            compute_output_spec(layer.call, _sized(inputs, batch))
        except Exception:  # What cannot be called so shows nothing.
            return {}
    return seen


def _sized(inputs: Any, batch: int) -> Any:
    def sized(tensor: Any) -> Any:
        shape = [batch, *(dim or _STEPS for dim in tensor.shape[1:])]
        return keras.KerasTensor(shape, tensor.dtype)

    return keras.tree.map_structure(sized, inputs)
