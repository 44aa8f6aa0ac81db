"""Watching a model run: every call of a layer or operation, with its path.

Keras has no hooks. While a watch lasts, `keras.layers.Layer.__call__` and
`keras.Operation.__call__` are wrapped, for this thread and inside this model only.
"""

import threading
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import keras

from keras_padsafe.backends.running import is_staged
from keras_padsafe.types import Tensor

Moment = Literal["enter", "leave"]
"""Before a call or after it."""

Spot = tuple[int, Moment]
"""One place to look at a run: the index of a call, and the moment."""

Change = Callable[[Any], Any]
"""Takes the arguments or the outputs of a call, returns others."""


@dataclass(eq=False)
class LayerCall:
    """One call of one layer or operation.

    Attributes:
        index: Its number, in the order in which calls begin.
        layer: What was called.
        path: The names of the layers that it was called in, and its own.
        parent: The call that it happened in; `None` for the model itself.
        args: Positional arguments; an observer may replace them on entering.
        kwargs: Named arguments; an observer may replace them on entering.
        passed: The named arguments that reached `call()`: Keras adds masks to them.
        outputs: What came out; an observer may replace it on leaving.
    """

    index: int
    layer: keras.Operation
    path: str
    parent: "LayerCall | None"
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    passed: dict[str, Any] = field(default_factory=dict)
    outputs: Any = None

    @property
    def inputs(self) -> list[Tensor]:
        """The tensors among the arguments, masks given by name left out."""
        named = {k: v for k, v in self.kwargs.items() if "mask" not in k}
        return tensors_in((self.args, named))

    @property
    def layer_variables(self) -> list[keras.Variable]:
        """The variables of what was called; an operation has none."""
        return list(getattr(self.layer, "variables", []))

    @property
    def results(self) -> list[Tensor]:
        """The tensors among the outputs."""
        return tensors_in(self.outputs)


class Observer:
    """Sees every call before and after it; the default lets all pass unchanged."""

    def enter(self, call: LayerCall) -> None:
        """Called before the layer runs."""

    def leave(self, call: LayerCall) -> None:
        """Called after the layer ran."""


class Vary(Observer):
    """Passes what each call is given, and what it gives, through a function.

    Args:
        at: Takes the call, `"enter"` or `"leave"`, and a structure of tensors; returns
            what goes on in its place.
    """

    def __init__(self, at: Callable[[LayerCall, Moment, Any], Any]) -> None:
        self._at = at

    def enter(self, call: LayerCall) -> None:
        call.args, call.kwargs = self._at(call, "enter", (call.args, call.kwargs))

    def leave(self, call: LayerCall) -> None:
        call.outputs = self._at(call, "leave", call.outputs)


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
    model: keras.Operation, observer: Observer, only: Container[int] | None = None
) -> Iterator[None]:
    """While it lasts, `observer` sees each call inside `model`, and its own.

    Args:
        model: Calls outside of it are not seen.
        observer: What sees them.
        only: The indices of the calls to show; by default those whose tensors hold
            values, not those staged for a compiled loop. Gradients need it: while JAX
            differentiates, no tensor says whether it holds a value.
    """
    watcher = _Watcher(model, observer, only)
    layer_call = keras.layers.Layer.__call__
    operation_call = keras.Operation.__call__

    def watched_layer(layer: Any, *args: Any, **kwargs: Any) -> Any:
        return watcher.run(layer_call, layer, args, kwargs)

    def watched_operation(operation: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(operation, keras.layers.Layer):
            watcher.note_passed(operation, kwargs)
            return operation_call(operation, *args, **kwargs)
        return watcher.run(operation_call, operation, args, kwargs)

    keras.layers.Layer.__call__ = watched_layer
    keras.Operation.__call__ = watched_operation
    try:
        yield
    finally:
        keras.layers.Layer.__call__ = layer_call
        keras.Operation.__call__ = operation_call


class _Watcher:
    def __init__(
        self,
        model: keras.Operation,
        observer: Observer,
        only: Container[int] | None,
    ) -> None:
        self._model = model
        self._observer = observer
        self._only = only
        self._thread = threading.get_ident()
        self._open: list[LayerCall] = []
        self._begun = 0

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
        shown = self._shows(call)
        if shown:
            self._observer.enter(call)
        self._open.append(call)
        try:
            call.outputs = call_function(layer, *call.args, **call.kwargs)
        finally:
            self._open.pop()
        if shown:
            self._observer.leave(call)
        return call.outputs

    def note_passed(self, layer: keras.Operation, kwargs: dict[str, Any]) -> None:
        if threading.get_ident() == self._thread and self._open:
            call = self._open[-1]
            if call.layer is layer:
                call.passed = kwargs

    def _watches(self, layer: keras.Operation, args: Any, kwargs: Any) -> bool:
        if threading.get_ident() != self._thread:
            return False
        if not self._open and layer is not self._model:
            return False
        leaves = keras.tree.flatten((args, kwargs))
        return not any(isinstance(leaf, keras.KerasTensor) for leaf in leaves)

    def _shows(self, call: LayerCall) -> bool:
        if self._only is not None:
            return call.index in self._only
        return not any(map(is_staged, tensors_in((call.args, call.kwargs))))

    def _begin(self, layer: keras.Operation, args: Any, kwargs: Any) -> LayerCall:
        parent = self._open[-1] if self._open else None
        inside = parent is not None and parent.parent is not None
        path = f"{parent.path}/{layer.name}" if parent and inside else layer.name
        if parent is not None and _skips_what_it_wraps(parent.layer, layer):
            path = f"{parent.path}/{parent.layer.layer.name}/{layer.name}"
        call = LayerCall(self._begun, layer, path, parent, args, kwargs)
        self._begun += 1
        return call


def _skips_what_it_wraps(wrapper: keras.Operation, inner: keras.Operation) -> bool:
    """Whether a wrapper called `call` of its model, so that only its parts are seen."""
    if not isinstance(wrapper, keras.layers.Wrapper):
        return False
    wrapped = wrapper.layer
    return wrapped is not inner and inner in getattr(wrapped, "layers", [])
