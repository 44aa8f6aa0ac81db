"""Watching a model run: every call of a layer or operation, with its path.

Keras has no hooks. While a watch lasts, `keras.layers.Layer.__call__` and
`keras.Operation.__call__` are wrapped, for this thread and inside this model only, and
`call` of the layers in it, which a wrapper may use instead. `TimeDistributed` calls
what it wraps once for all steps, if that gives the same as once for each.
"""

import functools
import inspect
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from unittest import mock

import keras
import numpy as np

from keras_padsafe.backends.running import is_staged, loops_in_python, own_random_state
from keras_padsafe.compat import inner_layers
from keras_padsafe.types import Tensor

_LIBRARIES = ("keras", "keras_hub", "keras_padsafe")

Key = tuple[str, int]
"""The path of a layer, and which of its calls."""

Moment = Literal["enter", "leave"]
"""Before a call or after it."""

Spot = tuple[int, Moment]
"""One place to look at a run: the index of a call, and the moment."""

Change = Callable[[Any], Any]
"""Takes the arguments or the outputs of a call, returns others."""

Observer = Callable[["LayerCall", Moment, Any], Any]
"""Sees a call, before it with its arguments and after it with its outputs; may return
what goes on in their place."""


@dataclass(eq=False)
class LayerCall:
    """One call of one layer or operation.

    Attributes:
        index: Its number, in the order in which calls begin.
        key: Its path, and which call of it.
        parent: The call that it happened in; `None` for the model itself.
        passed: The named arguments that reached `call()`: Keras adds masks to them.
        steps: The steps of the `TimeDistributed` around it, if all of them are its
            rows: of each row of the batch it has as many as their product.
        whole: Of a `TimeDistributed`, how many steps it hands on as rows; 0 if it
            calls what it wraps step by step.
    """

    index: int
    layer: keras.Operation
    key: Key
    parent: "LayerCall | None"
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    passed: dict[str, Any] = field(default_factory=dict)
    outputs: Any = None
    steps: tuple[int, ...] = ()
    whole: int = 0

    @property
    def path(self) -> str:
        """The names of the layers that it was called in, and its own."""
        return self.key[0]

    @property
    def loops(self) -> bool:
        """Whether it calls what is in it once a step: there is no time axis then."""
        each = isinstance(self.layer, keras.layers.TimeDistributed) and not self.whole
        return each or isinstance(self.layer, keras.layers.RNN)

    @property
    def inputs(self) -> list[Tensor]:
        """The tensors among the arguments, masks given by name left out."""
        named = {k: v for k, v in self.kwargs.items() if "mask" not in k}
        return tensors_in((self.args, named))

    @property
    def layer_variables(self) -> list[keras.Variable]:
        """The variables of what was called; an operation has none."""
        return list(getattr(self.layer, "variables", []))

    def shown(self, moment: Moment) -> list[Tensor]:
        """The inputs, or the tensors among the outputs."""
        return self.inputs if moment == "enter" else tensors_in(self.outputs)


def of_a_library(layer: keras.Operation) -> bool:
    """Whether what is called comes with Keras or with a package of ours."""
    library = type(layer).__module__.partition(".")[0] in _LIBRARIES
    return library and not isinstance(layer, keras.Model)


def changing(spots: Container[Spot], change: Change) -> Observer:
    """Changes what is at some spots."""

    def changed(call: LayerCall, moment: Moment, structure: Any) -> Any:
        return change(structure) if (call.index, moment) in spots else structure

    return changed


def tensors_in(structure: Any) -> list[Tensor]:
    """The tensors of a nested structure, in the order in which they are mapped.

    On PyTorch `keras.tree.flatten` sorts dictionaries and `map_structure` does not.
    """
    found: list[Tensor] = []
    map_tensors(lambda tensor: found.append(tensor) or tensor, structure)
    return found


def map_tensors(function: Callable[[Tensor], Tensor], structure: Any) -> Any:
    """The same structure with `function` applied to each tensor."""
    return keras.tree.map_structure(
        lambda leaf: function(leaf) if keras.ops.is_tensor(leaf) else leaf, structure
    )


@contextmanager
def watch(
    model: keras.Operation,
    observers: Sequence[Observer],
    only: Container[Key] | None,
    agrees: dict[Any, bool],
) -> Iterator[None]:
    """While it lasts, observers see each call inside `model`, and its own.

    Args:
        model: Calls outside of it are not seen.
        observers: What sees them, each what the one before returned; what they call
            themselves is not seen.
        only: The calls to show; by default those whose tensors hold values, not those
            staged for a compiled loop. Gradients need it: while JAX differentiates,
            no tensor says whether it holds a value.
        agrees: For each `TimeDistributed` met before, whether it may call what it
            wraps once; is added to.
    """
    watcher = _Watcher(model, observers, only, agrees)
    layer_call = keras.layers.Layer.__call__
    operation_call = keras.Operation.__call__
    each_step = keras.layers.TimeDistributed.call

    def watched_layer(layer: Any, *args: Any, **kwargs: Any) -> Any:
        return watcher.run(layer_call, layer, args, kwargs)

    def watched_operation(operation: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(operation, keras.layers.Layer):
            if watcher.is_in(operation):
                watcher.open[-1].passed = kwargs
            return operation_call(operation, *args, **kwargs)
        return watcher.run(operation_call, operation, args, kwargs)

    # Keras looks at the names of these arguments.
    def watched_steps(
        layer: Any, inputs: Any, training: Any = None, mask: Any = None
    ) -> Any:
        options = {"training": training, "mask": mask}
        return watcher.run_steps(each_step, layer, inputs, options)

    def watched_call(layer: Any) -> Callable[..., Any]:
        call = layer.call

        @functools.wraps(call)
        def watched(*args: Any, **kwargs: Any) -> Any:
            if watcher.is_in(layer):
                return call(*args, **kwargs)
            return watcher.run(lambda _, *a, **k: call(*a, **k), layer, args, kwargs)

        return watched

    with ExitStack() as patches:
        patches.enter_context(warnings.catch_warnings())
        # What becomes of a mask that is dropped is what an audit finds.
        warnings.filterwarnings("ignore", ".*destroy the mask information")
        for owner, name, watched in (
            (keras.layers.Layer, "__call__", watched_layer),
            (keras.Operation, "__call__", watched_operation),
            (keras.layers.TimeDistributed, "call", watched_steps),
        ):
            patches.enter_context(mock.patch.object(owner, name, watched))
        for layer in inner_layers(model):
            own = vars(layer)  # Not by `setattr`: Keras is not to track it.
            if "call" in own:
                patches.callback(own.__setitem__, "call", own["call"])
            else:
                patches.callback(own.pop, "call", None)
            own["call"] = watched_call(layer)
        yield


@dataclass(eq=False)
class _Watcher:
    model: keras.Operation
    observers: Sequence[Observer]
    only: Container[Key] | None
    agrees: dict[Any, bool]
    thread: int = field(default_factory=threading.get_ident)
    open: list[LayerCall] = field(default_factory=list)
    begun: Counter[str] = field(default_factory=Counter)
    blind: bool = False

    def run(
        self,
        call_function: Callable[..., Any],
        layer: keras.Operation,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        if not self._watches(layer, args, kwargs):
            return call_function(layer, *args, **kwargs)
        call = self._begin(layer, args, kwargs)
        shown = self._shows(call, tensors_in((call.args, call.kwargs)))
        if shown:
            self._show(call, "enter")
        self.open.append(call)
        try:
            # In the loops of a ready-made layer there is nothing to see.
            ready = isinstance(layer, keras.layers.Layer) and of_a_library(layer)
            with loops_in_python(not ready):
                call.outputs = call_function(layer, *call.args, **call.kwargs)
        finally:
            self.open.pop()
        # Keras may have called it on constants while it built what is around it.
        if shown and self._shows(call, call.shown("leave")):
            self._show(call, "leave")
        return call.outputs

    def run_steps(
        self, each_step: Callable[..., Any], layer: Any, inputs: Any, options: Any
    ) -> Any:
        """Runs a `TimeDistributed`: all steps at once where that gives the same."""
        if self.blind or not self.is_in(layer):
            return each_step(layer, inputs, **options)
        if layer not in self.agrees and not is_staged(inputs):
            with self._unseen(), keras.StatelessScope(), own_random_state():
                self.agrees[layer] = _agrees(each_step, layer, inputs, options)
        if not self.agrees.get(layer) or None in inputs.shape[:2]:
            return each_step(layer, inputs, **options)
        self.open[-1].whole = inputs.shape[1]
        return _all_steps(layer, inputs, **options)

    def is_in(self, layer: keras.Operation) -> bool:
        """Whether the call that runs now is one of this layer."""
        here = threading.get_ident() == self.thread and bool(self.open)
        return here and self.open[-1].layer is layer

    @contextmanager
    def _unseen(self) -> Iterator[None]:
        before, self.blind = self.blind, True
        try:
            yield
        finally:
            self.blind = before

    def _watches(self, layer: keras.Operation, args: Any, kwargs: Any) -> bool:
        if threading.get_ident() != self.thread or self.blind:
            return False
        if not self.open and layer is not self.model:
            return False
        leaves = keras.tree.flatten((args, kwargs))
        return not any(isinstance(leaf, keras.KerasTensor) for leaf in leaves)

    def _shows(self, call: LayerCall, tensors: list[Tensor]) -> bool:
        if self.only is not None:
            return call.key in self.only
        return not any(map(is_staged, tensors))

    def _show(self, call: LayerCall, moment: Moment) -> None:
        with self._unseen():
            for see in self.observers:
                if moment == "enter":
                    given = call.args, call.kwargs
                    call.args, call.kwargs = see(call, moment, given) or given
                else:
                    made = see(call, moment, call.outputs)
                    call.outputs = call.outputs if made is None else made

    def _begin(self, layer: keras.Operation, args: Any, kwargs: Any) -> LayerCall:
        parent = self.open[-1] if self.open else None
        inside = parent is not None and parent.parent is not None
        path = f"{parent.path}/{layer.name}" if parent and inside else layer.name
        index, key = self.begun.total(), (path, self.begun[path])
        self.begun[path] += 1
        call = LayerCall(index, layer, key, parent, args, kwargs)
        if parent is not None:
            call.steps = parent.steps + ((parent.whole,) if parent.whole else ())
        return call


def _all_steps(layer: Any, inputs: Tensor, **options: Any) -> Tensor:
    """What a `TimeDistributed` gives, by one call of what it wraps."""
    rows, steps = inputs.shape[:2]

    def merged(tensor: Tensor) -> Tensor:
        return keras.ops.reshape(tensor, (rows * steps, *tensor.shape[2:]))

    taken = inspect.signature(layer.layer.call).parameters
    given = {k: v for k, v in options.items() if k in taken and v is not None}
    if "mask" in given:
        given["mask"] = merged(given["mask"])
    made = layer.layer.call(merged(inputs), **given)
    return keras.ops.reshape(made, (rows, steps, *made.shape[1:]))


def _agrees(each_step: Any, layer: Any, inputs: Any, options: Any) -> bool:
    """Whether a `TimeDistributed` treats the steps as it would treat rows."""
    try:
        pair = each_step(layer, inputs, **options), _all_steps(layer, inputs, **options)
        one, other = (
            keras.ops.convert_to_numpy(keras.ops.cast(made, "float32")) for made in pair
        )
    except Exception:  # Whatever it raises, it will raise again.
        return False
    size = np.abs(one[np.isfinite(one)]).max(initial=0.0)
    return bool(np.allclose(one, other, rtol=1e-3, atol=1e-3 * size, equal_nan=True))
