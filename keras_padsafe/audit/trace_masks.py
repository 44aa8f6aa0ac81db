"""Follows every mask through a model: where it is born, used and lost."""

from dataclasses import dataclass
from typing import Any

import keras

from keras_padsafe.arguments import read_layer
from keras_padsafe.audit.audit_report import AuditReport, plain
from keras_padsafe.audit.masks.mask_findings import mask_findings
from keras_padsafe.audit.masks.mask_story import MaskStory, run_with_masks
from keras_padsafe.audit.read_batch import read_batch
from keras_padsafe.audit.run.record_calls import CallRecord, Value
from keras_padsafe.errors import MaskError


@dataclass(frozen=True)
class MaskRow:
    """What became of masks in one call of a layer or operation.

    Attributes:
        path: The names of the layers it was called in, and its own.
        class_name: Its class.
        mask_in: For each floating-point input: `"mask"`, `"none"`, or `"all True"` for
            a mask that hides none of the padding in it.
        used: The names of the mask arguments that reached `call()`.
        mask_out: As `mask_in`, for each floating-point output.
        mask_after: As `mask_in`, when the call had ended: a layer may take a mask away.
        events: What happened: `"born"`, `"kept"`, `"combined"`, `"consumed"` (used,
            and no padding left), `"dropped"`, `"erased"` (from the inputs), `"ignored"`
            or `"from nowhere"`; empty if no mask came in or went out.
        padded: The share of padding in what came in, or went out.
    """

    path: str
    class_name: str
    mask_in: tuple[str, ...]
    used: tuple[str, ...]
    mask_out: tuple[str, ...]
    mask_after: tuple[str, ...]
    events: tuple[str, ...]
    padded: float

    def to_json(self) -> dict[str, Any]:
        """The row as plain data."""
        data = plain(vars(self))
        return {"path": data.pop("path"), "class": data.pop("class_name"), **data}


@dataclass(frozen=True)
class MaskTrace(AuditReport):
    """The way of each mask through a model; prints as a table.

    Attributes:
        findings: Where a mask is lost, ignored or wrong, and padding gets through.
        rows: Each call inside the model that padding or a mask went through, in the
            order of the run.
    """

    rows: tuple[MaskRow, ...]

    def __str__(self) -> str:
        if not self.rows:
            return "no layer makes, carries or is given a mask"
        return f"{_table(self.rows)}\n\n{super().__str__()}"


def trace_masks(model: keras.layers.Layer, batch: Any) -> MaskTrace:
    """Follows every mask through a model: where it is born, used and lost.

    A lost mask is a finding only if it matters, which is measured: the model runs
    again with other content at padded positions. A mask dropped before a layer that
    works step by step does no harm; dropped before attention, it does. Every layer and
    operation of a Functional model is seen, and every layer that other layers call.

    The model stays as it is. Memory is needed for all of its activations; the time is
    that of a few runs, and of one more for each layer that reads padding.

    Args:
        model: Any Keras model or layer.
        batch: What the model is called on: an array, or a list, tuple or dict of them.
            Rows of different lengths: some position must be padding.

    Returns:
        A `MaskTrace`: the findings, and a row for each call.

    Raises:
        MaskError: if `model` is no Keras model, or if no position of the batch is
            padding: then there is nothing to see.

    Example:

    >>> ids = keras.Input((None,), dtype="int32")
    >>> x = keras.layers.Embedding(9, 8, mask_zero=True, name="tokens")(ids)
    >>> x = keras.layers.LSTM(4, name="reader")(2.0 * x)
    >>> model = keras.Model(ids, x)
    >>> trace = keras_padsafe.audit.trace_masks(model, np.array([[5, 8, 2], [7, 0, 0]]))
    >>> trace.passed
    False
    >>> finding = trace.findings[0]
    >>> finding.title, finding.evidence["last_seen"], finding.evidence["read_by"]
    ('mask dropped', 'tokens', ['reader'])
    """
    read_layer(model, "model", MaskError)
    _, story = run_with_masks(model, read_batch(batch, "batch", MaskError))
    if story is None:
        return MaskTrace((), ())
    findings = mask_findings(story)
    readers = {path for f in findings for path in f.evidence.get("read_by", [])}
    rows = [_row(story, call, call.path in readers) for call in story.calls[1:]]
    met = tuple(row for row in rows if row is not None)
    return MaskTrace(findings, met, not_looked_at=story.not_looked_at)


def _table(rows: tuple[MaskRow, ...]) -> str:
    lines = [["call", "class", "mask in", "used", "mask out", "event"]]
    for row in rows:
        parts = (row.mask_in, row.used, row.mask_out, row.events)
        lines.append([row.path, row.class_name, *map(", ".join, parts)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    form = "  ".join(f"{{:{width}}}" for width in widths)
    return "\n".join(form.format(*line).rstrip() for line in lines)


def _row(story: MaskStory, call: CallRecord, reads: bool) -> MaskRow | None:
    inputs = story.contents(call)
    outputs = [value for value in call.outputs if value.is_float]
    floats = (*inputs, *outputs)
    shares = [flags.mean() for v in floats if (flags := story.padded(v)) is not None]
    met = shares or call.used or any(v.mask is not None for v in floats)
    if not outputs or not met:
        return None
    latest = {value.tensor: value for value in call.inputs_after}
    after = [latest.get(value.tensor, value) for value in inputs]
    masked = [value for value in inputs if value.mask is not None]
    kept = [latest.get(value.tensor, value).mask is not None for value in masked]
    events = set[str]() if all(kept) else {"erased"}
    padded = [value for value in inputs if story.padded(value) is not None]
    for value in outputs:
        if story.shows_padding(value):
            wrong = any(map(story.shows_padding, inputs))
            events.add("kept" if wrong else "from nowhere")
        elif value.mask is not None:
            events.add(("born", "kept", "combined")[min(len(masked), 2)])
        elif story.padded(value) is not None and any(v in masked for v in padded):
            events.add("dropped")
    gone = padded and all(story.padded(value) is None for value in outputs)
    if reads and masked:
        events.add("ignored")
    elif gone and (call.used or masked):
        events.add("consumed")
    return MaskRow(
        call.path,
        call.class_name,
        _states(story, inputs),
        call.used,
        _states(story, outputs),
        _states(story, after),
        tuple(sorted(events)),
        round(float(max(shares, default=0.0)), 4),
    )


def _states(story: MaskStory, values: list[Value]) -> tuple[str, ...]:
    def state(value: Value) -> str:
        if value.mask is None:
            return "none"
        hides_none = story.padded(value) is not None and value.mask.all()
        return "all True" if hides_none else "mask"

    return tuple(map(state, values))
