"""What a trace of masks says: which finding, where, and what to do."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from keras_padsafe.audit.finding import Finding
from keras_padsafe.audit.masks.mask_story import Loss, MaskStory
from keras_padsafe.audit.run.bad_values import is_float, like, to_numpy
from keras_padsafe.audit.run.float_noise import typical_size
from keras_padsafe.audit.run.leaks import moved_inside
from keras_padsafe.audit.run.longer_calls import readers_of_more
from keras_padsafe.audit.run.movements import Movements
from keras_padsafe.audit.run.record_calls import Key, Value
from keras_padsafe.audit.run.watch import of_a_library
from keras_padsafe.facts.advice import POOLING
from keras_padsafe.facts.swaps import OURS
from keras_padsafe.types import Tensor

_ORDER = ("PS302", "PS303", "PS304", "PS301", "PS305")

_CODES = {
    "dropped": "PS301",
    "operation": "PS301",
    "erased": "PS303",
    "shown": "PS304",
}


def mask_findings(story: MaskStory) -> tuple[Finding, ...]:
    """The findings of a trace, in the order in which the model runs: one a place.

    What else a place does wrong stands among the evidence of its finding.
    """
    runs, root = story.runs, story.root
    model, unchanged = runs.runs.model, runs.batch.unchanged()
    found = [_of_reader(story, key, moved) for key, moved in _readers(story)]
    other_weights = runs.again(root.key, unchanged, variables=_nudged(model))
    other_content = runs.again(root.key, *runs.behind("random"))
    for number, value in enumerate(root.outputs):
        if not _leaves_labels_out(_loss_of(model, number)):
            # Of an axis that may be as long as time by chance, only content would tell.
            again = other_weights if runs.axes[value].sure else other_content
            found += _of_output(story, number, again[number])
    begun = {call.path: call.index for call in reversed(story.calls)}
    merged = _merged(found)
    return tuple(sorted(merged, key=lambda finding: begun.get(finding.place, 0)))


def _loss_of(model: Any, number: int) -> Any:
    """The loss that a model was compiled with for an output, if it was."""
    loss = getattr(model, "loss", None)
    if isinstance(loss, Mapping):
        names = getattr(model, "output_names", [])
        return loss.get(names[number]) if number < len(names) else None
    losses = keras.tree.flatten(loss) or [None]
    return losses[number] if number < len(losses) else losses[0]


def _leaves_labels_out(loss: Any) -> bool:
    """Whether a loss has a label that it does not count, as padding has."""
    labels = [getattr(loss, name, None) for name in ("ignore_class", "pad_label")]
    inner = getattr(loss, "loss", None)  # Of `MaskedLoss`.
    return labels != [None, None] or bool(inner and _leaves_labels_out(inner))


def _nudged(model: keras.layers.Layer) -> list[tuple[keras.Variable, Tensor]]:
    """What training moves, moved a little: an answer that stays teaches nothing."""
    random, nudged = np.random.default_rng(0), []
    for variable in model.trainable_variables or model.weights:
        if is_float(variable):
            array = to_numpy(variable.value)
            step = 0.01 * (typical_size(array) or 1.0)
            array = array + step * random.uniform(0.5, 1.5, array.shape)
            nudged.append((variable, like(variable.value, array)))
    return nudged


def _readers(story: MaskStory) -> list[tuple[Key, Movements]]:
    """The calls through which padding reaches an answer."""
    runs, found = story.runs, dict[Key, Movements]()
    if runs.taps or runs.features:
        # A maximum may not see the one, and a softmax may hide the other.
        for kind in ("random", "large"):
            for key, moved in runs.leaks(kind, settle=True):
                found.setdefault(key, moved)
    # Without a mask, or where no time is left, padding counts whatever it holds.
    suspect = [
        key
        for key, call in runs.record.items()
        if call.parent and (runs.pools(key) or story.untold(call))
    ]
    for key in readers_of_more(runs, suspect):
        found.setdefault(key, Movements())
    return list(found.items())


def _merged(found: list[Finding]) -> list[Finding]:
    """One finding for each place, that which says most first."""
    by_place: dict[str, list[Finding]] = {}
    for finding in sorted(found, key=lambda one: _ORDER.index(one.code)):
        by_place.setdefault(finding.place, []).append(finding)
    merged = []
    for every in by_place.values():
        first = every[0]
        lists = {
            "read_by": [path for f in every for path in f.evidence.get("read_by", [])],
            "also": [f.code for f in every if f.code != first.code],
        }
        more = {name: [*dict.fromkeys(some)] for name, some in lists.items() if some}
        merged.append(replace(first, evidence=first.evidence | more))
    return merged


def how_lost(loss: Loss) -> str:
    """Where a mask was lost, in words."""
    place = f"'{loss.place}' ({loss.class_name})"
    if loss.how == "shown":
        return f"{place} makes a mask that marks padding of its inputs as real"
    what = {
        "erased": f"{place} removed it from its own input",
        "operation": f"an operation inside {place} dropped it",
        "dropped": f"{place} dropped it",
    }
    return f"The mask was last seen at '{loss.seen}'; {what[loss.how]}"


def instead(loss: Loss) -> str:
    """What to use where a mask is lost."""
    if loss.how != "operation" and (ours := _ours(loss.class_name)):
        return ours
    keep = "keras_padsafe.layers.KeepMask()"
    fixes = {
        "shown": f"Add {keep}([result, x]) after it, where x is the input with the "
        "right mask. A position is then masked if either mask says so.",
        "erased": f"Pass it a copy of its input x: {keep}([x, x]).",
        "operation": "For a sum, use keras_padsafe.layers.MaskedAdd()([x, y]). After "
        "any other operation that keeps the positions of x, add "
        f"{keep}([result, x]).",
        "same": f"Add {keep}([result, x]) after it, where x is its input. In a layer "
        "of your own, set self.supports_masking = True.",
        "none": "Its output has no positions. Pool the real ones instead, with "
        f"{POOLING}.",
        "other": "It changes the positions of its input x. Change the mask in the same "
        "way, and pass it to the next layer by name (mask=, attention_mask=).",
    }
    return fixes[loss.positions if loss.how == "dropped" else loss.how]


def _of_reader(story: MaskStory, key: Key, moved: Movements) -> Finding:
    runs, call = story.runs, story.runs.record[key]
    padded, untold = story.padded_inputs(call), story.untold(call)
    name = f"'{call.path}' ({call.class_name})"
    traced = [(story.lost(value, call), value) for value in untold]
    losses = [(loss, value) for loss, value in traced if loss is not None]
    if losses:
        loss, value = min(losses, key=lambda pair: pair[0].order)
        evidence = _evidence(story, value, loss.seen) | {"read_by": [call.path]}
        return _of_loss(loss, f"{name} reads padding", evidence)
    child = moved_inside(runs, moved, key)
    if call.has_children and not of_a_library(call.layer):
        before = f"before '{child.path}'" if child else "before its output"
        return Finding(
            "PS302",
            call.path,
            f"An operation inside {name}, {before}, mixes padding into real positions.",
            "Use the mask (True = real) there: keras_padsafe.ops.masked_mean, "
            "masked_max, masked_softmax and masked_attention take one. Before a sum, "
            "use keras.ops.where(mask[..., None], x, 0).",
            {"read_by": [child.path if child else call.path]},
        )
    seen = story.told_elsewhere(untold[0]) if untold else ""
    got = f"gets {'no' if untold else 'a'} mask for the padding in its input"
    got = f"does not get the mask that '{seen}' gets" if seen else got
    fix = (
        "Pass the mask in an argument that the layer uses (attention_mask=, "
        "padding_mask=), or use a layer that uses masks, such as the attention, "
        "Conv1D and pooling layers of keras_padsafe.layers."
    )
    if untold:
        fix = "Pass the mask by name: attention_mask=, padding_mask= or mask=."
    value = next(iter(untold or padded), None)
    evidence = {} if value is None else _evidence(story, value, seen)
    return Finding(
        "PS302",
        call.path,
        f"{name} {got}, and its outputs at real positions change with the content of "
        "the padding.",
        _ours(call.class_name) or fix,
        evidence | {"read_by": [call.path]},
    )


def _of_loss(loss: Loss, effect: str, evidence: dict[str, Any]) -> Finding:
    return Finding(
        _CODES[loss.how],
        loss.place,
        f"{how_lost(loss)}, and {effect}.",
        instead(loss),
        evidence | {"mask_from" if loss.how == "shown" else "lost_in": loss.place},
    )


def _of_output(story: MaskStory, number: int, after: Value) -> list[Finding]:
    """That a loss counts an output without a mask, which moves where it is padding."""
    value = story.root.outputs[number]
    padded, loss = story.padded(value), story.lost(value, story.root)
    if loss is None or padded is None or padded.ndim < 2:
        return []
    rows, before = padded.reshape(len(padded), -1), value.array
    some = (rows.any(1) & ~rows.all(1)).any()
    compared = some and before.shape == after.array.shape
    if not compared or np.array_equal(before[padded], after.array[padded]):
        return []
    evidence = _evidence(story, value, loss.seen) | {"output": number}
    counts = f"a loss counts the padding in output {number} of the model"
    found = _of_loss(loss, counts, evidence)
    if loss.how == "shown":
        return [found]
    fix = found.fix + " Or give padded positions a sample_weight of 0."
    return [replace(found, code="PS305", fix=fix)]


def _ours(class_name: str) -> str:
    ours = OURS.get(class_name)
    return f"Replace {class_name} with {ours}." if ours else ""


def _evidence(story: MaskStory, value: Value, seen: str) -> dict[str, Any]:
    padded = story.padded(value)
    return {
        "last_seen": seen,
        "shape": [int(size) for size in value.array.shape],
        "padded_share": 0.0 if padded is None else round(float(padded.mean()), 4),
    }
