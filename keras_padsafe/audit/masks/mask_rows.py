"""The table of a trace: what each call did to masks."""

from collections.abc import Sequence

import numpy as np

from keras_padsafe.audit.finding import Finding
from keras_padsafe.audit.masks.mask_story import MaskStory, erases
from keras_padsafe.audit.run.record_calls import CallRecord, Value
from keras_padsafe.audit.trace_masks import MaskRow


def mask_rows(story: MaskStory, findings: Sequence[Finding]) -> tuple[MaskRow, ...]:
    """A row for each call that padding or a mask went through, in order."""
    if story.runs is None:
        return ()
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
    after = {value.tensor: value for value in call.inputs_after}
    shares = [float(flags.mean()) for flags in padded if flags is not None]
    return MaskRow(
        call.path,
        call.class_name,
        tuple(_state(story, value) for value in inputs),
        call.used,
        tuple(_state(story, value) for value in outputs),
        tuple(_state(story, after.get(v.tensor, v)) for v in inputs),
        tuple(sorted(_events(story, call, inputs, outputs, after, reads))),
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
    after: dict[int, Value],
    reads: bool,
) -> set[str]:
    masks = [value.mask for value in inputs if value.mask is not None]
    padded = [value for value in inputs if story.padded(value) is not None]
    events: set[str] = set()
    for value in outputs:
        if value.mask is not None:
            events.add(_of_mask(story, value, value.mask, inputs, call))
        elif story.padded(value) is not None and any(
            v.mask is not None for v in padded
        ):
            events.add("dropped")
    if any(erases(value, after.get(value.tensor, value)) for value in inputs):
        events.add("erased")
    if reads and masks:
        events.add("ignored")
    gone = padded and all(story.padded(value) is None for value in outputs)
    if gone and (call.used or masks) and "ignored" not in events:
        events.add("consumed")
    return events


def _of_mask(
    story: MaskStory,
    value: Value,
    mask: np.ndarray,
    inputs: list[Value],
    call: CallRecord,
) -> str:
    masks = [given.mask for given in inputs if given.mask is not None]
    if story.shows_padding(value):
        before = any(story.shows_padding(given) for given in inputs)
        return "kept" if before else "from nowhere"
    from_inputs = any(story.padded(given) is not None for given in inputs)
    if not masks and (not from_inputs or not call.used):
        return "born"
    same = any(np.array_equal(mask, given) for given in masks)
    if len(masks) > 1:
        return "combined"
    return "kept" if same or masks else "born"
