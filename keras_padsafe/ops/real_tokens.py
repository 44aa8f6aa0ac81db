"""Runs a function on the real tokens of a batch, and not on its padding."""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_padsafe.backends.running import is_recorded
from keras_padsafe.compat import compiles_for_xla, raw_value
from keras_padsafe.ops.exact_cuts import on_exact_cuts
from keras_padsafe.ops.hide import hide
from keras_padsafe.ops.row_cuts import Axes, Spans, find_spans, is_float
from keras_padsafe.ops.static_cuts import StaticCuts
from keras_padsafe.ops.strips import one_a_strip, packed
from keras_padsafe.types import Tensor

Along = Mapping[int, Tensor | None]
"""The axes of a tensor that run along a sequence, each with the mask of that."""

# How finely lengths are rounded where each size is a program to compile. More parts
# save more time, and each takes about as long to compile as the layer itself.
_PARTS = 4
# Rows run together until they are about so many tokens.
_TOKENS = 1024
# Fewer numbers than this are not worth the sorting.
_NUMBERS = 2**20
# How many rows a batch has, where nobody else says it: as Keras takes it to be.
_BATCH = 32

_forced: list[bool | None] = [None]


@contextlib.contextmanager
def follow_real_tokens(enabled: bool | None) -> Iterator[None]:
    """Overrules the choice whether layers skip the padding of a batch.

    The answer is the same either way; only the time differs. A compiled function
    keeps what was chosen when it was traced.

    Args:
        enabled: `True` skips padding wherever that can be done, even where it does
            not pay; `False` never does; `None` leaves it to the layers.

    Example:
    >>> with keras_padsafe.ops.follow_real_tokens(False):
    ...     output = keras_padsafe.layers.MaskedMultiHeadAttention(2, 4)(
    ...         keras.ops.ones((2, 3, 8)), keras.ops.ones((2, 3, 8))
    ...     )
    """
    _forced.append(enabled)
    try:
        yield
    finally:
        _forced.pop()


def why_whole(
    inputs: Sequence[Tensor | None],
    masks: Sequence[Tensor | None],
    *,
    has_steps: bool = False,
    training: bool | None = None,
) -> str | None:
    """Says why padding is not skipped here, or `None` if it is.

    Args:
        inputs: The tensors that would be cut. Axis 0 is the batch.
        masks: The padding of each sequence, `(batch, time)`, or `None`.
        has_steps: Whether what would be run takes one step of time after the other.
        training: Whether the model trains. On TensorFlow the size of a batch may then
            be open: what is recorded in training does not run elsewhere.
    """
    given = [x for x in (*masks, *inputs) if x is not None]
    known = [mask for mask in masks if mask is not None]
    sizes = [size for x in given for size in _shape(x, training)]
    forced = _forced[-1]
    reasons: tuple[tuple[str, Callable[[], bool]], ...] = (
        ("it was switched off", lambda: forced is False),
        ("nothing is masked", lambda: not known),
        ("the model is under construction", lambda: _is_symbolic(given)),
        ("an input is no tensor", lambda: not all(map(keras.ops.is_tensor, given))),
        ("a shape is unknown", lambda: not all(isinstance(n, int) for n in sizes)),
        ("a batch has no rows or no steps", lambda: 0 in sizes),
        ("a mask stands for several rows or steps", lambda: _is_shared(known, given)),
        ("the batch lies on several devices", lambda: _is_distributed()),
        ("the function is recorded to run elsewhere", lambda: is_recorded(given)),
        ("JAX would compile each length anew", lambda: _is_jax_by_hand(known)),
        ("no accelerator was measured", lambda: not forced and not _on_cpu(given)),
        ("each group would take its steps anew", lambda: has_steps and not forced),
        (
            "the batch is small",
            lambda: not forced and _is_small(inputs, known, training),
        ),
    )
    return next((reason for reason, holds in reasons if holds()), None)


def on_real_tokens(
    f: Callable[..., Tensor],
    inputs: Sequence[tuple[Tensor | None, Along]],
    *,
    output: Any,
    output_along: Along,
    variables: Sequence[keras.Variable],
    starts: str = "own",
    packs: bool = False,
) -> Tensor:
    """Runs `f` on the real tokens of groups of rows, and puts the results back.

    Rows are sorted by length and run in groups, each cut to the length of its
    longest row. What `f` makes of a row must depend on that row only. It may still
    meet padding, and has to mask it.

    Args:
        f: Takes the inputs, cut, and returns a tensor `(batch, ...)`.
        inputs: Tensors `(batch, ...)`, or `None`, each with the axes that run along
            a sequence and the padding of that, `(batch, time)`. An axis of size 1,
            or one whose mask is `None`, is left as it is.
        output: Shape and dtype of the result.
        output_along: The axes of the result that run along a sequence; it is 0
            where it was not computed.
        variables: Every variable that `f` reads.
        starts: Where the cuts of a row start, as in `find_spans`: positions count
            from there.
        packs: Whether `f` takes rows that hold several of the batch one after the
            other, which it tells apart by an input; see `can_pack`.
    """
    masks = _distinct(m for _, along in inputs for m in along.values())
    distinct: list[tuple[Tensor, dict[int, int]]] = []
    numbers: list[int | None] = []
    for x, along in inputs:
        if x is None:
            numbers.append(None)
            continue
        entry = (x, _axes(x, along, masks))
        same = (i for i, e in enumerate(distinct) if e[0] is x and e[1] == entry[1])
        numbers.append(next(same, len(distinct)))
        if numbers[-1] == len(distinct):
            distinct.append(entry)

    def on_cuts(*cuts: Tensor) -> Tensor:
        return f(*(None if n is None else cuts[n] for n in numbers))

    tensors, axes = zip(*distinct, strict=True)
    output_axes = _axes(output, output_along, masks)
    spans = find_spans(masks, starts)
    batch = masks[0].shape[0]
    most = max(1, _TOKENS // max(spans.times))
    if not _needs_static_shapes():
        return on_exact_cuts(on_cuts, tensors, axes, output, output_axes, spans, most)
    most = 1 if batch is None else min(most, batch)
    rows = max(n for n in range(1, most + 1) if batch is None or batch % n == 0)
    floats = [v for v in variables if is_float(v)]
    others = [v for v in variables if not is_float(v)]

    def on_group(cuts: Sequence[Tensor], values: Any, state: Any) -> Any:
        pairs = zip((*floats, *others), (*values, *state), strict=True)
        with keras.StatelessScope(list(pairs)) as scope:
            result = on_cuts(*cuts)
        return result, [scope.get_current_value(v) for v in others]

    result, state = StaticCuts(
        on_group,
        axes,
        [is_float(x) for x in tensors],
        output,
        output_axes,
        spans.times,
        rows,
        1 if packs else _PARTS,
    ).run(
        tensors,
        [raw_value(v) for v in floats],
        [raw_value(v) for v in others],
        packed(_apart(spans, tensors, axes, masks)) if packs else one_a_strip(spans),
    )
    for variable, value in zip(others, state, strict=True):
        variable.assign(value)
    return result


def _apart(
    spans: Spans, tensors: Sequence[Tensor], axes: Sequence[Axes], masks: Sequence[Any]
) -> Spans:
    """Gives rows that are not finite a strip each: 0 times NaN in a sum is NaN."""
    lost: Any = False
    for x, along in zip(tensors, axes, strict=True):
        if is_float(x) and list(along) == [1]:
            bad = hide(ops.logical_not(ops.isfinite(x)), masks[along[1]])
            lost = lost | ops.any(ops.reshape(bad, (ops.shape(bad)[0], -1)), axis=1)
    pairs = zip(spans.lengths, spans.times, strict=True)
    lengths = tuple(ops.where(lost, time, length) for length, time in pairs)
    return dataclasses.replace(spans, lengths=lengths)


def can_pack(masks: Sequence[Tensor | None]) -> bool:
    """Whether rows can share a strip, so that one size is enough to compile.

    TensorFlow would compile anew for each number of strips.
    """
    backend = keras.backend.backend()
    return backend == "jax" and all(mask is not None for mask in masks)


def number_rows(x: Tensor) -> Tensor:
    """The number of its row for each token of `(batch, time, ...)`."""
    return ops.arange(ops.shape(x)[0])[:, None] + ops.zeros(x.shape[1:2], "int32")


def _distinct(masks: Any) -> list[Tensor]:
    found: list[Tensor] = []
    for mask in masks:
        if mask is not None and all(mask is not other for other in found):
            found.append(mask)
    return found


def _axes(x: Any, along: Along, masks: Sequence[Tensor]) -> dict[int, int]:
    numbers = {id(mask): number for number, mask in enumerate(masks)}
    return {
        axis: numbers[id(mask)]
        for axis, mask in along.items()
        if mask is not None and x.shape[axis] == mask.shape[1]
    }


def _shape(x: Tensor, training: bool | None) -> tuple[int | None, ...]:
    """The shape, a batch that is met later being one of usual size."""
    later = x.shape[0] is None and keras.backend.backend() == "tensorflow"
    if later and (training or compiles_for_xla()):
        return (_BATCH, *x.shape[1:])
    return tuple(x.shape)


def _is_symbolic(tensors: Sequence[Tensor]) -> bool:
    return any(keras.backend.is_keras_tensor(x) for x in tensors)


def _is_shared(masks: Sequence[Tensor], tensors: Sequence[Tensor]) -> bool:
    batches = {x.shape[0] for x in tensors if is_float(x)}
    return len(batches) > 1 or any(mask.shape[0] not in batches for mask in masks)


def _is_distributed() -> bool:
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.distribute.has_strategy()
    return keras.distribution.distribution() is not None


def _is_jax_by_hand(masks: Sequence[Tensor]) -> bool:
    if keras.backend.backend() != "jax":
        return False
    import jax

    return not all(isinstance(mask, jax.core.Tracer) for mask in masks)


def _needs_static_shapes() -> bool:
    backend = keras.backend.backend()
    return backend == "jax" or (backend == "tensorflow" and compiles_for_xla())


def _on_cpu(tensors: Sequence[Tensor]) -> bool:
    backend = keras.backend.backend()
    if backend == "torch":
        return all(x.device.type == "cpu" for x in tensors)
    if backend == "jax":
        import jax

        return jax.default_backend() == "cpu"
    import tensorflow as tf

    return not tf.config.list_logical_devices("GPU")


def _is_small(
    inputs: Sequence[Tensor | None], masks: Sequence[Tensor], training: bool | None
) -> bool:
    largest = max(
        math.prod(filter(None, _shape(x, training)))
        for x in inputs
        if x is not None and is_float(x)
    )
    return largest < _NUMBERS or masks[0].shape[0] == 1
