"""Which single operations of a layer's own code make non-finite values, and how."""

import math
import re
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from keras_padsafe.audit.nonfinite.batch_run import BatchRun
from keras_padsafe.audit.nonfinite.cause import Cause
from keras_padsafe.audit.run.bad_values import is_finite, is_float, to_numpy
from keras_padsafe.audit.run.watch import LayerCall, Moment, Observer, Spot
from keras_padsafe.backends.operations import watch_operations

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
_SAID = {
    ("", "PS501"): "every score of a row is -inf, so its softmax is 0 / 0",
    ("", "PS503"): "the result is too large for its dtype",
    ("division", "PS508"): "it divides by zero",
    ("logarithm", "PS508"): "it takes the logarithm of zero",
    ("logarithm", "PS510"): "it takes the logarithm of a negative number",
    ("power", "PS508"): "it raises zero to a negative power",
    ("power", "PS510"): "it raises a negative number to a fractional power",
    ("root", "PS508"): "it divides by the square root of zero",
    ("root", "PS510"): "it takes the square root of a negative number",
}


@dataclass
class OwnCode:
    """Watches the operations of one call's own code, without those of calls in it.

    Attributes:
        scope: The index of the call; `None` for what is no call, such as a loss.
        until: The spot after which nothing is looked at any more.
        made: What the operations say that made non-finite values of finite ones.
        chooses: Whether one took values by a condition.
        hides: Whether some of those were not finite.
        unsure: Whether one then made a NaN of infinities.
        passes: Whether one was given what is not finite and gave such.
        ran: Whether any was seen at all.
        inner: How many calls were made.
    """

    scope: int | None = None
    until: Spot | None = None
    made: list[Cause] = field(default_factory=list)
    chooses: bool = False
    hides: bool = False
    unsure: bool = False
    passes: bool = False
    ran: bool = False
    inner: int = 0
    _open: list[int] = field(default_factory=list)
    _watching: ExitStack = field(default_factory=ExitStack)
    _done: bool = False

    @property
    def cause(self) -> Cause | None:
        """What the first operation that made one says, if all of them say the same.

        Once a condition has hidden something, a NaN of infinities need not come of it.
        """
        codes = {cause.code for cause in self.made}
        known = len(codes) == 1 and "" not in codes and not self.unsure
        return self.made[0] if known else None

    def look_at(self, run: Callable[[], Any]) -> "OwnCode":
        """Runs something; code that cannot run operation by operation tells nothing."""
        try:
            if self.scope is None:
                self.look()
            run()
        except Exception:
            self.made.clear()
            self.passes = False
        finally:
            self._watching.close()
        return self

    def look(self) -> None:
        """Sees each operation from now on."""
        self._watching.enter_context(watch_operations(self.seen))

    def away(self, call: LayerCall, moment: Moment, structure: Any) -> None:
        """Looks away when a call begins or ends."""
        self._watching.close()

    def at(self, call: LayerCall, moment: Moment, structure: Any) -> None:
        """Looks on or away as calls begin and end."""
        if moment == "leave":
            self._open.pop()
        else:
            self.inner += self._open[-1:] == [self.scope]
            self._open.append(call.index)
        self._done = self._done or (call.index, moment) == self.until
        if self._open and self._open[-1] == self.scope and not self._done:
            self.look()

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
        tensors = [t for t in ins if keras.ops.is_tensor(t)]
        # Others are handles, text, keys of random numbers.
        operands = [t for t in tensors if re.search("float|int|bool", str(t.dtype))]
        if not operands:
            return
        if _all_finite(ins):
            self.made.append(_cause(name, _code(plain, ins, operands, floats)))
            return
        self.passes = True
        if _nothing_left(plain, operands, floats[0]):
            self.made.append(_cause(name, "PS501"))
        elif _have_nan(floats) and not _have_nan(operands):
            self.unsure = self.unsure or self.hides


def own_code(
    run: BatchRun,
    scope: int,
    *changed: Observer,
    until: Spot | None = None,
) -> OwnCode:
    """Runs the batch, which may be changed, and watches the own code of one call."""
    code = OwnCode(scope, until)
    return code.look_at(lambda: run(code.away, *changed, code.at))


def _cause(name: str, code: str) -> Cause:
    """What an operation says that made what is not finite."""
    plain = _plain(name)
    kind = "root" if plain.endswith("sqrt") else ""
    kind = "logarithm" if plain.startswith("log") else kind
    kind = "division" if plain in _DIVISIONS else kind
    kind = "power" if plain in _POWERS else kind
    other = _SAID.get(("", code), f"'{name}' is not defined for its input")
    return Cause(code, _SAID.get((kind, code), other), {"operation": name})


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _holds_floats(value: Any) -> bool:
    return keras.ops.is_tensor(value) and is_float(value)


def _all_finite(operands: list[Any]) -> bool:
    return all(is_finite(x) for x in operands if _holds_floats(x)) and all(
        math.isfinite(x) for x in operands if isinstance(x, float)
    )


def _have_nan(tensors: list[Any]) -> bool:
    return any(np.isnan(to_numpy(t)).any() for t in tensors if is_float(t))


def _code(name: str, ins: list[Any], operands: list[Any], results: list[Any]) -> str:
    """PS508 at a pole, PS503 too large, PS510 undefined; else nothing."""
    has_nan = _have_nan(results)
    if name in _DIVISIONS:
        below = [x for x in ins if keras.ops.is_tensor(x) or _is_number(x)][-1]
        below = to_numpy(below) if keras.ops.is_tensor(below) else np.asarray(below)
        return "PS508" if (below == 0).any() else "PS503"
    if name in _POWERS:
        if has_nan:
            return "PS510"
        at_zero = (to_numpy(operands[0]) == 0).any()
        negative = any(_is_number(x) and x < 0 for x in ins) or name == "integerpow"
        negative |= len(operands) > 1 and bool((to_numpy(operands[1]) < 0).any())
        return "PS508" if at_zero and negative else "PS503"
    if name in _POLES or name in _DOMAINS:
        return "PS510" if has_nan else "PS508"
    return "PS503" if name in _GROWING else ""


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
