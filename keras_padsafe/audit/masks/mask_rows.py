"""The table of a trace: what each call did to masks."""

from collections.abc import Iterator, Sequence

from keras_padsafe.audit.finding import Finding
from keras_padsafe.audit.masks.mask_story import MaskStory, erases
from keras_padsafe.audit.run.record_calls import CallRecord, Value
from keras_padsafe.audit.trace_masks import MaskRow


def mask_rows(story: MaskStory, findings: Sequence[Finding]) -> tuple[MaskRow, ...]:
    """A row for each call that padding or a mask went through, in order."""
    readers = {path for f in findings for path in f.evidence.get("read_by", [])}
    rows = [_row(story, call, call.path in readers) for call in story.calls[1:]]
    return tuple(row for row in rows if row is not None)


def _row(story: MaskStory, call: CallRecord, reads: bool) -> MaskRow | None:
    inputs = story.contents(call)
    outputs = [value for value in call.outputs if value.is_float]
    padded = [story.padded(value) for value in (*inputs, *outputs)]
    met = call.used or any(v.mask is not None for v in (*inputs, *outputs))
    if not outputs or not (met or any(p is not None for p in padded)):
        return None
    latest = {value.tensor: value for value in call.inputs_after}
    after = [latest.get(value.tensor, value) for value in inputs]
    events = {*_events(story, call, inputs, outputs, reads)}
    if any(map(erases, inputs, after)):
        events.add("erased")
    shares = [float(flags.mean()) for flags in padded if flags is not None]
    return MaskRow(
        call.path,
        call.class_name,
        tuple(_state(story, value) for value in inputs),
        call.used,
        tuple(_state(story, value) for value in outputs),
        tuple(_state(story, value) for value in after),
        tuple(sorted(events)),
        round(max(shares, default=0.0), 4),
    )


def _state(story: MaskStory, value: Value) -> str:
    if value.mask is None:
        return "none"
    hides_none = story.padded(value) is not None and value.mask.all()
    return "all True" if hides_none else "mask"


def _events(
    story: MaskStory,
    call: CallRecord,
    inputs: list[Value],
    outputs: list[Value],
    reads: bool,
) -> Iterator[str]:
    masked = [value for value in inputs if value.mask is not None]
    padded = [value for value in inputs if story.padded(value) is not None]
    for value in outputs:
        if story.shows_padding(value):
            wrong = any(map(story.shows_padding, inputs))
            yield "kept" if wrong else "from nowhere"
        elif value.mask is not None:
            yield ("born", "kept", "combined")[min(len(masked), 2)]
        elif story.padded(value) is not None and any(v in masked for v in padded):
            yield "dropped"
    gone = padded and all(story.padded(value) is None for value in outputs)
    if reads and masked:
        yield "ignored"
    elif gone and (call.used or masked):
        yield "consumed"
