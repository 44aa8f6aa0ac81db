"""Puts a non-finite value and its cause into words."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from keras_padsafe.arguments import Word
from keras_padsafe.audit.finding import Finding
from keras_padsafe.audit.nonfinite.cause import Cause
from keras_padsafe.audit.run.bad_values import BadValues
from keras_padsafe.audit.run.watch import tensors_in

_SHOWN, _WORDS_SHOWN = 8, 12

_FIX_LABELS = (
    "Number the classes from 0, and give the head a score for each. A label that "
    "means nothing is the ignore_class of the loss, or the pad_label of MaskedLoss."
)
FIXES: Mapping[str, str] = {
    "PS501": (
        "Use a layer that returns zeros there, such as MaskedGlobalAveragePooling1D "
        "or MaskedSoftmax of keras_padsafe.layers, or drop such rows."
    ),
    "PS502": (
        "Map the id to one that the table has, or add rows with "
        "keras_padsafe.surgery.grow. check_ids finds such ids in your data."
    ),
    "PS503": 'Compute this layer in float32 (dtype="float32"), or normalise its input.',
    "PS504": (
        "Correct the data, or mask these steps with keras_padsafe.layers.NaNMasking."
    ),
    "PS505": (
        "Go back to earlier weights. keras_padsafe.callbacks.NonFiniteGuard keeps "
        "the last good ones during fit."
    ),
    "PS506": (
        "0 * NaN is NaN, so select instead: keras.ops.where(mask, x, 0) before this "
        "layer. The masked layers of keras_padsafe and MaskedLoss do this."
    ),
    "PS507": (
        "Replace the bad input before the operation, not only its result: where(ok, "
        "f(where(ok, x, 1)), 0)."
    ),
    "PS508": (
        "Use keras.ops.divide_no_nan, or keep the input of the division, root or "
        "logarithm above zero: keras.ops.maximum(x, epsilon)."
    ),
    "PS509": (
        "Go back to earlier weights, and lower the learning rate or clip gradients "
        "(clipnorm=1.0). NonFiniteGuard keeps the last good weights."
    ),
    "PS510": (
        "Keep the input in the range where the operation is defined, for example "
        "keras.ops.maximum(x, 0) under a square root."
    ),
}


def nonfinite_finding(
    cause: Cause,
    place: str,
    direction: str,
    bad: BadValues | None = None,
    more: Mapping[str, Any] | None = None,
) -> Finding:
    """One finding of `find_nonfinite`, not yet worded; see `Tokens`."""
    evidence = {"direction": direction, **(bad.evidence() if bad else {})}
    evidence |= {**cause.evidence, **(more or {})}
    fix = _FIX_LABELS if "labels" in evidence else FIXES[cause.code]
    return Finding(cause.code, place, cause.because, fix, evidence)


def joined(first: Finding, again: Finding) -> Finding:
    """One finding of the same fault in two calls of a layer, as the steps of a cell."""
    old, new = first.evidence, again.evidence
    rows = {*old.get("rows", []), *new.get("rows", [])}
    if rows == set(old.get("rows", [])) or len(old["rows"]) == _SHOWN:
        return first
    count = max(len(rows), old["row_count"], new["row_count"])
    more = {"rows": sorted(rows)[:_SHOWN], "row_count": count}
    return replace(first, evidence=old | more)


def _message(evidence: Mapping[str, Any], because: str) -> str:
    what = "a gradient" if evidence["direction"] == "backward" else "a value"
    what += " is first non-finite here"
    if "labels" in evidence:
        what = "a label stands for no class"
    if "after" in evidence:
        what += f", after {evidence['after']}"
    message = f"{what}{_rows(evidence)}: {because}."
    if "gradient_lost_at" in evidence:
        at = evidence["gradient_lost_at"]
        message += (
            f" A mask hides it, but the gradient is lost at {at}: 0 * NaN is NaN."
        )
    return message


def _rows(evidence: Mapping[str, Any]) -> str:
    rows = evidence.get("rows", [])
    if not rows:
        return ""
    text = evidence.get("text", [])
    spelled = {row: f"{row} ({text[n]!r})" for n, row in enumerate(rows[: len(text)])}
    named = [spelled.get(row, str(row)) for row in rows[:3]]
    count = evidence.get("row_count", len(rows))
    rest = " and more" if count > len(named) else ""
    hidden = evidence.get("padded_positions") and not evidence.get("real_positions")
    padded = ", at padded positions only" if hidden else ""
    word = "row" if count == 1 else "rows"
    return f" ({word} {', '.join(named)}{rest}{padded})"


class Tokens:
    """Words findings; the first integer input of `(batch, time)` holds the ids."""

    def __init__(
        self, x: Any, vocabulary: Sequence[Word] | Mapping[int, str] | None
    ) -> None:
        by_id = isinstance(vocabulary, Mapping)
        self._words = vocabulary if by_id else dict(enumerate(vocabulary or ()))
        self._ids = None if vocabulary is None else _ids_of(x)

    def worded(self, finding: Finding) -> Finding:
        """A finding with its message, and the text of its rows and positions."""
        evidence = finding.evidence | self._text(finding.evidence)
        message = _message(evidence, finding.message)
        return replace(finding, message=message, evidence=evidence)

    def _text(self, evidence: Mapping[str, Any]) -> dict[str, Any]:
        ids = self._ids
        if ids is None:
            return {}
        rows = [ids[row] for row in evidence.get("rows", []) if row < len(ids)]
        words = [map(self._word, row[:_WORDS_SHOWN]) for row in rows]
        text: dict[str, Any] = {"text": [" ".join(row).strip() for row in words]}
        steps = evidence.get("positions", [])
        inside = [(r, t) for r, t in steps if r < len(ids) and t < ids.shape[1]]
        if inside:
            text["words"] = [self._word(ids[row, step]) for row, step in inside]
        return text

    def _word(self, number: Any) -> str:
        return str(self._words.get(int(number), f"[{number}]"))


def _ids_of(x: Any) -> np.ndarray | None:
    for tensor in tensors_in(x):
        dtype = keras.backend.standardize_dtype(tensor.dtype)
        if keras.backend.is_int_dtype(dtype) and len(tensor.shape) == 2:
            return keras.ops.convert_to_numpy(tensor)
    return None
