"""Shows whether anything but what has grown tells new ids apart."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from typing import Any
from unittest import mock

import numpy as np

from keras_padsafe.proof.certificate import Check
from keras_padsafe.proof.run_model import as_numpy, run_model, tolerance
from keras_padsafe.proof.samples import Sampler

NAME = "new ids are read as old ones"
_Watch = Callable[[], AbstractContextManager[list[tuple[str, np.ndarray]]]]
_MOST_NEW, _FIRST, _MOST_OLD, _SEVERAL = 16, 32, 2048, 2


def prove_uses(
    model: Any,
    axes: Mapping[str, int],
    size: int,
    sampler: Sampler,
    leave: Collection[str],
    named: Collection[str],
) -> Check:
    """Makes all entries of what has grown one and the same, and runs every id alone.

    A model that reads ids by those entries only then gives for a new id what it gives
    for old ones. So does one that asks whether an id is padding, or in which bin it
    lies. One that has something for each old id, such as a column, has none for a new
    one.

    The weights of the new model are not what they were afterwards. Layers of `leave`
    need not know the new ids, as the user can say of those that are `named`.
    """
    from keras_padsafe.compat import inner_layers

    new = list(sampler.each_alone(new=True, most=_MOST_NEW))
    if not new:
        return Check(NAME, "does not apply", "no new id can be run alone")
    first = list(sampler.each_alone(new=False, most=_FIRST))
    if not first:
        return Check(NAME, "does not apply", "no old id was kept")
    _make_equal(model, axes, size)
    weighing = [layer for layer in inner_layers(model) if _weighs(layer)]
    watch = partial(_watching, leave, frozenset(map(id, weighing)))
    rounding = tolerance(model)
    alone = _outputs(model, new, watch, size)

    def compare(old: list[tuple[Any, int]]) -> tuple[int, int]:
        unlike = _unlike(alone, _outputs(model, old, watch, size), rounding)
        return unlike, sum(rows for _, rows in old)

    unlike, count = compare(first)
    if unlike and count >= _FIRST:  # There may be more of them.
        unlike, count = compare(list(sampler.each_alone(new=False, most=_MOST_OLD)))
    if not unlike:
        detail = f"each as {_SEVERAL} or more of {count} old ones"
        return Check(NAME, "passed", detail)
    name = _first_use(model, new, first, watch, rounding, size)
    who = f"layer {name!r}" if name else "the model itself"
    remedy = f"add --leave {name} (leave='{name}')"
    if name not in named:
        who = "code of the model's own" + (f", seen in {who}," if name else "")
        remedy = "pass proof=False (--no-proof)"
    detail = (
        f"{who} also tells ids apart by something beside the arrays that have grown. "
        f"For {unlike} new ids its output is that of at most one of the {count} old "
        "ids that were tried; where only those arrays are read, it is that of several. "
        f"If it need not know new ids, {remedy}"
    )
    return Check(NAME, "skipped", detail)


def _make_equal(model: Any, axes: Mapping[str, int], size: int) -> None:
    """The same numbers for each id, along the axis over the ids of each array."""
    import keras

    from keras_padsafe.compat import saved_arrays, walk_saved

    for group, saved in walk_saved(model):
        for path, value in saved_arrays([(group, saved)]):
            axis = axes.get(path)
            if axis is None:
                continue
            for variable in _behind(value, saved, axis, size):
                one = _without(variable, axis)
                draw = np.random.default_rng(0)
                dtype = keras.backend.standardize_dtype(variable.dtype)
                # Two of 4 bits share a byte: 17 times a number holds it twice.
                whole = 17 * draw.integers(1, 8, one)
                values = whole if "int" in dtype else draw.uniform(0.05, 0.15, one)
                variable.assign(np.broadcast_to(values, variable.shape))


def _behind(value: Any, saved: Any, axis: int, size: int) -> Iterator[Any]:
    """The variables of what is saved whole, as a table with its LoRA or in parts.

    Of a layer whose policy is one of many, Keras saves no scale: `value` is `None`.
    """
    import keras

    if isinstance(value, keras.Variable):
        yield value
        return
    for variable in getattr(saved, "variables", ()):
        if value is None:
            fits = variable.shape[axis : axis + 1] == (size,)
        else:
            same_rank = len(variable.shape) == len(value.shape)
            fits = same_rank and _without(variable, axis) == _without(value, axis)
        if fits:
            yield variable


def _without(array: Any, axis: int) -> tuple[int, ...]:
    """The shape, with one entry along the axis."""
    return (*array.shape[:axis], 1, *array.shape[axis + 1 :])


def _outputs(
    model: Any, batches: Iterable[tuple[Any, int]], watch: _Watch, size: int
) -> list[np.ndarray]:
    """Each output of a model, a row for each id."""
    with watch():
        runs = [(run_model(model, batch), rows) for batch, rows in batches]
    return _stacked(runs, size)


def _stacked(runs: list[tuple[list[np.ndarray], int]], size: int) -> list[np.ndarray]:
    """What several batches gave, one below the other, where it has their rows.

    Scores of `size` ids are sorted: an id that comes in may raise its own.
    """

    def row_by_row(output: np.ndarray, rows: int) -> np.ndarray:
        for axis in range(1, output.ndim):
            if output.shape[axis] == size:
                output = np.sort(output, axis)
        return output[:rows].reshape(rows, -1)

    return [
        np.concatenate([row_by_row(o, rows) for o, (_, rows) in parts])
        for parts in (
            list(zip(outputs, runs, strict=True))
            for outputs in zip(*(outputs for outputs, _ in runs), strict=False)
        )
        if all(o.ndim and len(o) == len(parts[0][0]) >= rows for o, (_, rows) in parts)
    ]


def _unlike(new: list[np.ndarray], old: list[np.ndarray], rounding: float) -> int:
    """How many rows of `new` are those of no old one, or of one among many."""
    alike: Any = True
    for one, other in zip(new, old, strict=True):
        alike &= np.array([(_same(row, other, rounding)) for row in one])
    few = np.sum(alike, axis=-1) < min(_SEVERAL, len(old[0])) if new else 0
    return int(np.sum(few))


def _same(row: np.ndarray, others: np.ndarray, rounding: float) -> np.ndarray:
    if row.dtype.kind not in "fiub":
        return np.asarray((row == others).all(-1))
    allowed = rounding * np.abs(others[np.isfinite(others)]).max(initial=1e-6)
    close = np.isclose(others, row, 0.0, allowed, equal_nan=True)
    return np.asarray(np.all(close, axis=-1))


def _first_use(
    model: Any, new: Any, old: Any, watch: _Watch, rounding: float, size: int
) -> str | None:
    """The first layer or operation that makes numbers of ids in that way, if seen."""
    with watch() as made:
        of_each = []
        for batches in (new, old):
            runs = []
            for batch, rows in batches:
                made.clear()
                run_model(model, batch)
                runs.append(([o for _, o in made], rows))
            of_each.append(runs)
        names = [name for name, _ in made]
    for number, name in enumerate(names):
        one, other = (
            _stacked([(run[number : number + 1], rows) for run, rows in runs], size)
            for runs in of_each
        )
        if one and other and name != model.name and _unlike(one, other, rounding):
            return name
    return None


def _weighs(layer: Any) -> bool:
    """Whether it has a weight of its own for each word, which is no reading of it."""
    from keras import layers

    lookups = layers.StringLookup, layers.IntegerLookup, layers.TextVectorization
    return isinstance(layer, lookups) and (
        layer.get_config()["output_mode"] == "tf_idf"
    )


@contextmanager
def _watching(
    leave: Collection[str], weighing: Collection[int]
) -> Iterator[list[tuple[str, np.ndarray]]]:
    """What each layer makes that is no id.

    What is left alone tells no ids apart, nor do the layers, by identity, with a weight
    for each word.
    """
    import keras

    made: list[tuple[str, np.ndarray]] = []
    real = keras.Operation.__call__

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = real(self, *args, **kwargs)
        if self.name in leave:
            result = keras.tree.map_structure(keras.ops.ones_like, result)
        elif id(self) in weighing:
            result = keras.ops.sign(result)
        for value in keras.tree.flatten(result):
            with suppress(Exception):  # Staged for a compiled loop, or ragged.
                values = as_numpy(value)
                if values.dtype.kind in "fb":
                    made.append((self.name, values))
        return result

    with mock.patch.object(keras.Operation, "__call__", call):
        yield made
