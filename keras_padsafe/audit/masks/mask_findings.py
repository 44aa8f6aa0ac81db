"""What a trace of masks says: which finding, where, and what to do."""

from typing import Any

import numpy as np

from keras_padsafe.audit.finding import Finding
from keras_padsafe.audit.masks.mask_lineage import Loss, SeenTensor, TracedCall
from keras_padsafe.audit.masks.padding_readers import PaddingReaders

# What loses or ignores masks, and ours in its place.
_INSTEAD = {
    "Add": "layers.MaskedAdd",
    "Attention": "layers.MaskedAttention",
    "Conv1D": "layers.MaskedConv1D",
    "GlobalAveragePooling1D": "layers.MaskedGlobalAveragePooling1D",
    "GlobalMaxPooling1D": "layers.MaskedGlobalMaxPooling1D",
    "GroupQueryAttention": "layers.MaskedGroupedQueryAttention",
    "MultiHeadAttention": "layers.MaskedMultiHeadAttention",
    "Softmax": "layers.MaskedSoftmax",
    "Max": "ops.masked_max",
    "Mean": "ops.masked_mean",
    "Min": "ops.masked_min",
    "Sum": "ops.masked_sum",
}
_CODES = {"dropped": "PS301", "operation": "PS301", "erased": "PS303"}


def mask_findings(
    calls: list[TracedCall], found_readers: PaddingReaders
) -> tuple[Finding, ...]:
    """The findings of a trace, in the order in which the model runs."""
    found: dict[tuple[str, str], Finding] = {}
    order: dict[tuple[str, str], int] = {}
    begun = {call.path: call.index for call in reversed(calls)}

    def add(finding: Finding) -> None:
        key = (finding.code, finding.place)
        if key not in found:
            found[key] = finding
            order[key] = begun.get(finding.place, 0)
            return
        before = found[key].evidence.get("read_by", [])
        new = [
            path for path in finding.evidence.get("read_by", []) if path not in before
        ]
        before.extend(new)

    for call in found_readers.calls:
        add(_of_reader(call))
    for call in found_readers.operations:
        add(_of_operation(call, calls[0]))
    for number, seen in enumerate(calls[0].outputs):
        if found_readers.padding_in_answers[number : number + 1] == (True,):
            finding = _of_output(number, seen)
            if finding is not None:
                add(finding)
    return tuple(found[key] for key in sorted(found, key=lambda key: order[key]))


def how_lost(loss: Loss) -> str:
    """Where a mask was lost, in words."""
    if loss.how == "erased":
        return f"'{loss.place}' ({loss.class_name}) took it away from what it was given"
    if loss.how == "operation":
        return f"an operation inside '{loss.place}' ({loss.class_name}) dropped it"
    return f"'{loss.place}' ({loss.class_name}) dropped it"


def instead(loss: Loss) -> str:
    """What to use where a mask is lost."""
    ours = _INSTEAD.get(loss.class_name)
    if ours and loss.how != "operation":
        return f"Use keras_padsafe.{ours} in place of {loss.class_name}."
    if loss.how == "erased":
        return "Give it a copy of its input x: keras_padsafe.layers.KeepMask()([x, x])."
    if loss.how == "operation":
        return (
            "Add with keras_padsafe.layers.MaskedAdd()([x, y]); after any other "
            "operation that keeps the positions of x, write "
            "keras_padsafe.layers.KeepMask()([result, x])."
        )
    return (
        "If it keeps the positions of its input x, write "
        "keras_padsafe.layers.KeepMask()([result, x]) after it (in a layer of your "
        "own: self.supports_masking = True); if not, give the next layer its mask by "
        "name."
    )


def _of_reader(call: TracedCall) -> Finding:
    untold = [seen for seen in call.padded_inputs if not seen.told]
    seen = min(untold, key=_when_lost) if untold else call.padded_inputs[0]
    call = call.owner
    evidence = _evidence(seen) | {"read_by": [call.path]}
    reads = f"'{call.path}' ({call.class_name}) reads padding"
    if untold and seen.unhidden is not None:
        return _from_nowhere(seen.unhidden, reads, evidence)
    if untold and seen.lost is not None:
        lost = how_lost(seen.lost)
        return Finding(
            _CODES[seen.lost.how],
            seen.lost.place,
            f"The mask was last seen at '{seen.lineage.seen}'; {lost}, and {reads}.",
            instead(seen.lost),
            evidence | {"lost_in": seen.lost.place},
        )
    got = "gets the mask that hides padding in its input"
    if untold:
        got = f"is not given the mask that '{seen.lineage.seen}' was given"
    return Finding(
        "PS302",
        call.path,
        f"'{call.path}' ({call.class_name}) {got}, and its answers at real positions "
        "change with what padding holds.",
        _use_of_mask(call, bool(untold)),
        evidence,
    )


def _of_operation(call: TracedCall, model: TracedCall) -> Finding:
    within = call.parent or model
    before = f"before '{call.path}'" if call.parent else "before its output"
    return Finding(
        "PS302",
        within.path,
        f"An operation inside '{within.path}' ({within.class_name}), {before}, mixes "
        "padding into real positions.",
        "Write it with the mask: keras_padsafe.ops.masked_mean, masked_max, "
        "masked_softmax, or keras.ops.where(mask[..., None], x, 0) before a sum.",
        {"read_by": [call.path if call.parent else within.path]},
    )


def _of_output(number: int, seen: SeenTensor) -> Finding | None:
    evidence = _evidence(seen) | {"output": number}
    counts = f"a loss counts the padding in output {number} of the model"
    if seen.told or not seen.lineage.carried:
        return None
    if seen.unhidden is not None:
        return _from_nowhere(seen.unhidden, counts, evidence)
    if seen.lost is None:
        return None
    return Finding(
        "PS305",
        seen.lost.place,
        f"The mask was last seen at '{seen.lineage.seen}'; {how_lost(seen.lost)}, and "
        f"{counts}.",
        instead(seen.lost) + " Or give the padded positions a sample_weight of 0.",
        evidence | {"lost_in": seen.lost.place},
    )


def _from_nowhere(origin: Loss, effect: str, evidence: dict[str, Any]) -> Finding:
    return Finding(
        "PS304",
        origin.place,
        f"'{origin.place}' ({origin.class_name}) sets a mask that marks padding of its "
        f"inputs as real, and {effect}.",
        instead(origin)
        if origin.class_name in _INSTEAD
        else "Write keras_padsafe.layers.KeepMask()([result, x]) after it, with x the "
        "input whose mask is right: it hides what either mask hides.",
        evidence | {"mask_from": origin.place},
    )


def _use_of_mask(call: TracedCall, untold: bool) -> str:
    ours = _INSTEAD.get(call.class_name)
    if ours:
        return f"Use keras_padsafe.{ours} in place of {call.class_name}."
    if untold:
        return "Give it the mask by name: attention_mask=, padding_mask= or mask=."
    return (
        "Give it the mask in the argument that it does use (attention_mask=, "
        "padding_mask=), or take a layer that uses masks: keras_padsafe.layers has "
        "attention, Conv1D and pooling layers that do."
    )


def _when_lost(seen: SeenTensor) -> float:
    return seen.lost.order if seen.lost else float("inf")


def _evidence(seen: SeenTensor) -> dict[str, Any]:
    padded = seen.padded if seen.padded is not None else np.zeros(1, bool)
    return {
        "last_seen": seen.lineage.seen,
        "shape": [int(size) for size in seen.tensor.shape],
        "padded_share": round(float(padded.mean()), 4),
    }
