"""The single operations that a backend runs: each with what went in and came out."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import keras

from keras_padsafe.backends.running import is_staged, loops_in_python

Seen = Callable[[str, list[Any], list[Any]], None]
"""Takes the name of an operation, its arguments and its results, both flat."""


def watch_operations(seen: Seen) -> AbstractContextManager[None]:
    """While it lasts, `seen` is told of each operation after it ran.

    Only operations that run by themselves are seen, not those of a compiled function.
    Where the backend has no such hook, none is seen.
    """
    return _WATCHES[keras.backend.backend()](seen)


@contextmanager
def _jax(seen: Seen) -> Iterator[None]:
    try:
        from jax.extend.core import Primitive
    except ImportError:
        yield
        return

    bind = Primitive.bind

    def watched(self: Any, *args: Any, **params: Any) -> Any:
        out = bind(self, *args, **params)
        outs = list(out) if isinstance(out, (list, tuple)) else [out]
        if not any(map(is_staged, [*args, *outs])):
            Primitive.bind = bind
            try:
                seen(self.name, list(args), outs)
            finally:
                Primitive.bind = watched
        return out

    with loops_in_python(True, firmly=True):
        Primitive.bind = watched
        try:
            yield
        finally:
            Primitive.bind = bind


@contextmanager
def _tensorflow(seen: Seen) -> Iterator[None]:
    try:
        from tensorflow.python.framework import op_callbacks
    except ImportError:
        yield
        return

    busy = False

    # TensorFlow looks at the names of these arguments; it does not call itself here.
    def told(
        op_type: Any,
        inputs: Any,
        attrs: Any,
        outputs: Any,
        op_name: Any = None,
        graph: Any = None,
    ) -> None:
        nonlocal busy
        if graph is None and not busy:
            busy = True
            try:
                name = op_type.decode() if isinstance(op_type, bytes) else op_type
                seen(name, list(inputs), list(outputs))
            finally:
                busy = False

    op_callbacks.add_op_callback(told)
    try:
        yield
    finally:
        op_callbacks.remove_op_callback(told)


@contextmanager
def _torch(seen: Seen) -> Iterator[None]:
    try:
        from torch.utils._python_dispatch import TorchDispatchMode
    except ImportError:
        yield
        return

    class Watched(TorchDispatchMode):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            out = func(*args, **(kwargs or {}))
            name = func.overloadpacket.__name__
            flat = keras.tree.flatten((args, kwargs or {}))
            seen(name, flat, keras.tree.flatten(out))
            return out

    with Watched():
        yield


_WATCHES: dict[str, Callable[[Seen], AbstractContextManager[None]]] = {
    "jax": _jax,
    "tensorflow": _tensorflow,
    "torch": _torch,
}
