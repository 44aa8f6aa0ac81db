"""Which single operations of a layer's own code make non-finite values, and how."""

import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np

from keras_padsafe.audit.nonfinite.batch_run import BatchRun
from keras_padsafe.audit.run.bad_values import is_finite, is_float, to_numpy
from keras_padsafe.audit.run.watch import Change, LayerCall, Moment, Spot, Vary
from keras_padsafe.backends.operations import watch_operations

Verdict = Literal["zero", "large", "undefined", "nothing left"]

_DIVISIONS = {"div", "realdiv", "reciprocal", "inv", "remainder", "rem", "floormod"}
_POWERS = {"pow", "integerpow"}
_POLES = {"log", "log2", "log10", "log1p", "rsqrt", "atanh", "lgamma", "digamma"}
_DOMAINS = {"sqrt", "acos", "asin", "acosh", "erfinv"}
_GROWING = set(
    "exp exp2 expm1 sinh cosh tan mul add addv2 sub addn biasadd square cumsum cumprod "
    "sum reducesum mean prod reduceprod mm addmm bmm baddbmm matmul batchmatmul "
    "batchmatmulv2 dot dotgeneral einsum convolution convgeneraldilated conv1d conv2d "
    "conv3d cast convertelementtype tocopy squareddifference addcmul softplus lerp "
    "linear mulnonan segmentsum scatteradd".split()
)
_SUBTRACTIONS = {"sub", "softmax", "logsoftmax", "exp"}
_CHOICES = {"where", "select", "selectn", "selectv2", "maskedfill", "whereself"}


@dataclass(frozen=True)
class Primitive:
    """One operation whose result is not finite.

    Attributes:
        name: What the backend calls it.
        verdict: How it came about, as far as the operands tell.
    """

    name: str
    verdict: Verdict | None

    @property
    def because(self) -> str:
        """How it came about, as the end of a sentence."""
        name, zero = _plain(self.name), self.verdict == "zero"
        if self.verdict == "nothing left":
            return "every score of a row is -inf, so its softmax is 0 / 0"
        if self.verdict == "large":
            return "the result is too large for its dtype"
        if name in _DIVISIONS and zero:
            return "it divides by zero"
        if name.startswith("log"):
            return (
                f"it takes the logarithm of {'zero' if zero else 'a negative number'}"
            )
        if name.endswith("sqrt"):
            divided = "it divides by the square root of zero"
            return divided if zero else "it takes the square root of a negative number"
        if name in _POWERS:
            negative = "it raises a negative number to a fractional power"
            return "it raises zero to a negative power" if zero else negative
        return f"'{self.name}' is not defined for its input"


class OwnCode:
    """Watches the operations of one call's own code, without those of calls in it.

    `made` holds the operations that made non-finite values of finite ones, `chooses`
    says whether one took values by a condition, `hides` whether some of those were not
    finite, `unsure` whether one then made a NaN of infinities, `passes` whether one was
    given what is not finite and gave such, `ran` whether any was seen at all, `inner`
    how many calls were made.

    Args:
        scope: The index of the call.
        changes: What to do to the tensors of some spots.
        until: The spot after which nothing is looked at any more.
    """

    def __init__(
        self, scope: int, changes: Mapping[Spot, Change], until: Spot | None = None
    ) -> None:
        self.made: list[Primitive] = []
        self.chooses = False
        self.hides = False
        self.unsure = False
        self.passes = False
        self.ran = False
        self.inner = 0
        self._scope = scope
        self._changes = changes
        self._until = until
        self._open: list[int] = []
        self._watching: ExitStack | None = None
        self._done = False

    def at(self, call: LayerCall, moment: Moment, structure: Any) -> Any:
        """Looks on or away as calls begin and end."""
        self.close()
        spot: Spot = (call.index, moment)
        if moment == "leave":
            self._open.pop()
        if spot in self._changes:
            structure = self._changes[spot](structure)
        if moment == "enter":
            self.inner += self._open[-1:] == [self._scope]
            self._open.append(call.index)
        self._done = self._done or spot == self._until
        if self._open and self._open[-1] == self._scope and not self._done:
            self._watching = ExitStack()
            self._watching.enter_context(watch_operations(self.seen))
        return structure

    def seen(self, name: str, ins: list[Any], outs: list[Any]) -> None:
        """Told of one operation."""
        plain = _plain(name)
        self.ran = True
        floats = [t for t in outs if _holds_floats(t)]
        if plain in _CHOICES:
            self.chooses = True
            self.hides = self.hides or not _all_finite(ins)
        if plain.startswith(("empty", "newempty")) or all(map(is_finite, floats)):
            return
        operands = [t for t in ins if keras.ops.is_tensor(t) and not _is_other(t)]
        if not operands:
            return
        if _all_finite(ins):
            self.made.append(Primitive(name, _verdict(plain, ins, operands, floats)))
            return
        self.passes = True
        if _nothing_left(plain, operands, floats[0]):
            self.made.append(Primitive(name, "nothing left"))
        elif _without_nan(operands) and not _without_nan(floats):
            self.unsure = self.unsure or self.hides

    def close(self) -> None:
        """Stops watching, also after an error."""
        if self._watching is not None:
            self._watching.close()
            self._watching = None


def own_code(
    run: BatchRun,
    scope: int,
    changes: Mapping[Spot, Change] | None = None,
    until: Spot | None = None,
) -> OwnCode:
    """Runs the batch and watches the own code of one call; see `OwnCode`."""
    code = OwnCode(scope, changes or {}, until)
    try:
        run(Vary(code.at))
    except Exception:
        # Code that cannot run operation by operation tells nothing.
        code.made.clear()
        code.passes = False
    finally:
        code.close()
    return code


def own_code_of(function: Callable[[], Any]) -> OwnCode:
    """Watches the operations of a function that is no layer, such as a loss."""
    code = OwnCode(-1, {})
    try:
        with watch_operations(code.seen):
            function()
    except Exception:
        code.made.clear()
    return code


def agreed(code: OwnCode) -> Primitive | None:
    """The first operation that made one, if all of them tell the same.

    Once a condition has hidden something, a NaN of infinities need not come of it.
    """
    if len({primitive.verdict for primitive in code.made}) != 1:
        return None
    if code.unsure:
        return None
    return code.made[0] if code.made[0].verdict else None


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _holds_floats(value: Any) -> bool:
    return keras.ops.is_tensor(value) and not _is_other(value) and is_float(value)


def _all_finite(operands: list[Any]) -> bool:
    return all(is_finite(x) for x in operands if _holds_floats(x)) and all(
        math.isfinite(x) for x in operands if isinstance(x, float)
    )


def _without_nan(tensors: list[Any]) -> bool:
    return not any(np.isnan(to_numpy(t)).any() for t in tensors if is_float(t))


def _is_other(tensor: Any) -> bool:
    """Whether it holds no numbers: handles, text, keys of random numbers."""
    name = str(tensor.dtype)
    return not any(kind in name for kind in ("float", "int", "bool"))


def _verdict(
    name: str, ins: list[Any], operands: list[Any], results: list[Any]
) -> Verdict | None:
    result = np.concatenate([to_numpy(t).ravel() for t in results])
    has_nan = bool(np.isnan(result).any())
    if name in _DIVISIONS:
        numbers = [x for x in ins if keras.ops.is_tensor(x) or _is_number(x)]
        below = np.asarray(
            to_numpy(numbers[-1]) if keras.ops.is_tensor(numbers[-1]) else numbers[-1]
        )
        return "zero" if (below == 0).any() else "large"
    if name in _POWERS:
        if has_nan:
            return "undefined"
        at_zero = (to_numpy(operands[0]) == 0).any()
        negative = any(_is_number(x) and x < 0 for x in ins) or name == "integerpow"
        negative |= len(operands) > 1 and bool((to_numpy(operands[1]) < 0).any())
        return "zero" if at_zero and negative else "large"
    if name in _POLES or name in _DOMAINS:
        return "undefined" if has_nan else "zero"
    return "large" if name in _GROWING else None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _nothing_left(name: str, operands: list[Any], result: Any) -> bool:
    """Whether values that all were `-inf`, hidden by a mask, left none to choose."""
    first, made = to_numpy(operands[0]), to_numpy(result)
    if name == "logsumexp":  # In one operation on PyTorch only.
        return bool(np.isneginf(made).any())
    nan = np.isnan(made)
    return (
        name in _SUBTRACTIONS
        and first.shape == nan.shape
        and bool(nan.any())
        and bool(np.isneginf(first[nan]).all())
    )
