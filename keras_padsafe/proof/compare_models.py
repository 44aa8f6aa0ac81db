"""Runs a model and its surgery side by side on the user's backend."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_padsafe.proof.certificate import Check
from keras_padsafe.proof.run_model import (
    ModelFailed,
    load_pair,
    make_batch,
    run_model,
    tolerance,
)
from keras_padsafe.proof.sample_inputs import NoInputs, Sampler
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.surgery.planning.plan import Plan


@dataclass(frozen=True)
class Batches:
    """Makes inputs: with old ids as the old model and the new one call them, or new.

    Attributes:
        old: Old ids or words, as the old model calls them.
        renamed: The same, as the new model calls them.
        new: New ids or words only; `None` if the plan adds none.
    """

    old: Sampler
    renamed: Sampler
    new: Sampler | None


def compare_models(
    plan: Plan,
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    root: LayerNode,
    batches: Batches,
) -> Iterator[Check]:
    """Loads both files with Keras and compares what they compute.

    Args:
        plan: What was changed.
        source: The file before.
        target: The file after.
        root: The model of `source`, whose recorded input shape serves when the model
            has no symbolic inputs.
        batches: Makes the inputs.
    """
    loads, pair = load_pair(source, target)
    yield loads
    if pair is None:
        return
    before, after = pair.before, pair.after
    yield _optimizer(plan, before, after, pair.unread_before, pair.unread_after)
    try:
        old = _run(before, root, batches.old)
        renamed = _run(after, root, batches.renamed)
    except (ModelFailed, NoInputs) as error:
        yield Check("old ids keep their outputs", "skipped", str(error))
        return
    yield from _outputs(plan, before, old, renamed)
    if batches.new is not None:
        expected = bool(np.isfinite(_flat(old)).all())
        yield _new_outputs(after, root, batches.new, expected)


def _optimizer(
    plan: Plan, before: Any, after: Any, usual: str | None, skipped: str | None
) -> Check:
    name = "optimizer goes on"
    if plan.optimizer == "drop":
        return Check(name, "skipped", "its state was left behind, as asked")
    if usual:
        detail = f"Keras does not read the state of the file before either: {usual}"
        return Check(name, "skipped", detail)
    if skipped:
        return Check(name, "failed", skipped)
    optimizer = getattr(after, "optimizer", None)
    previous = getattr(before, "optimizer", None)
    if optimizer is None or previous is None or not optimizer.built:
        return Check(name, "skipped", "no optimizer was saved")
    steps, expected = int(optimizer.iterations), int(previous.iterations)
    if steps != expected:
        return Check(name, "failed", f"at step {steps}, expected {expected}", steps)
    count = len(optimizer.variables)
    return Check(
        name,
        "passed",
        f"{type(optimizer).__name__} at step {steps}, {count} variables",
        float(steps),
    )


def _run(model: Any, root: LayerNode, sampler: Sampler) -> list[np.ndarray]:
    batch = make_batch(model, root, sampler.sample)
    if not sampler.fed:
        raise NoInputs("no input of the model is known to take the vocabulary's ids")
    return run_model(model, batch)


def _outputs(
    plan: Plan, model: Any, old: list[np.ndarray], new: list[np.ndarray]
) -> Iterator[Check]:
    name = "old ids keep their outputs"
    if len(old) != len(new):
        yield Check(name, "failed", f"{len(old)} outputs became {len(new)}")
        return
    largest, allowed, compared = 0.0, 0.0, 0
    masses: list[float] = []
    for before, after in zip(old, new, strict=True):
        if before.shape != after.shape:
            if not _is_head(plan, before, after):
                detail = f"shape {before.shape} became {after.shape}"
                yield Check(name, "failed", detail)
                return
            before, after, mass = _align(plan, before, after)
            masses.append(mass)
        elif _is_head(plan, before, after) and not _close(before, after):
            # As many ids as before, in another order: the units may be in that order.
            before, after, _ = _align(plan, before, after)
        if before.dtype.kind in "OSU":  # words, from a lookup layer at the end
            if not np.array_equal(before, after):
                yield Check(name, "failed", "other words than before")
                return
            compared += before.size
            continue
        finite = np.isfinite(before)
        if not np.isfinite(after[finite]).all():
            yield Check(name, "failed", "NaN or infinite where it was finite")
            return
        compared += int(finite.sum())
        gap = np.abs(after[finite].astype("float64") - before[finite])
        largest = max(largest, float(gap.max(initial=0.0)))
        scale = float(np.abs(np.nan_to_num(before)).max(initial=0.0))
        allowed = max(allowed, tolerance(model) * max(scale, 1e-6))
    if not compared:
        yield Check(name, "skipped", "the model before gives no finite output")
        return
    status = "passed" if largest <= allowed else "failed"
    exact = "identical to the last bit" if largest == 0 else f"differ by {largest:.1e}"
    yield Check(name, status, f"{exact} (allowed {allowed:.1e})", largest)
    if masses:
        share = max(masses)
        detail = f"new ids take at most {share:.2%} of the probability"
        yield Check("probability of new ids", "passed", detail, share)


def _close(before: np.ndarray, after: np.ndarray) -> bool:
    return before.dtype.kind in "OSU" or bool(
        np.allclose(before, after, equal_nan=True)
    )


def _is_head(plan: Plan, before: np.ndarray, after: np.ndarray) -> bool:
    return (
        before.shape[:-1] == after.shape[:-1]
        and before.shape[-1:] == (plan.old_size,)
        and after.shape[-1:] == (plan.new_size,)
    )


def _align(
    plan: Plan, before: np.ndarray, after: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """The scores of the ids that both have, and the share that new ids take.

    Probabilities are divided by their sum over those ids; a softmax over more ids
    changes them by that factor alone.
    """
    new, old = plan.row_map.kept
    if _sums_to_one(np.exp(np.minimum(before, 1.0))):  # log-probabilities
        before, after = np.exp(before), np.exp(after)
    kept, was = after[..., new], before[..., old]
    if (before >= 0).all() and _sums_to_one(before):
        mass = float(after[..., plan.row_map.new_ids].sum(-1).max(initial=0.0))
        whole = np.maximum(kept.sum(-1, keepdims=True), 1e-30)
        return was / was.sum(-1, keepdims=True), kept / whole, mass
    shifted = np.exp(after.astype("float64") - after.max(-1, keepdims=True))
    share = shifted[..., plan.row_map.new_ids].sum(-1) / shifted.sum(-1)
    return was, kept, float(share.max(initial=0.0))


def _sums_to_one(values: np.ndarray) -> bool:
    return bool(np.allclose(values.sum(-1), 1.0, atol=1e-2))


def _new_outputs(
    model: Any, root: LayerNode, sampler: Sampler, expected_finite: bool
) -> Check:
    name = "new ids give finite outputs"
    try:
        finite = np.isfinite(_flat(_run(model, root, sampler))).all()
    except NoInputs as error:
        return Check(name, "skipped", str(error))
    except ModelFailed as error:
        return Check(name, "failed", str(error))
    if not finite and not expected_finite:
        return Check(name, "skipped", "old ids do not give finite outputs either")
    detail = "all finite" if finite else "NaN or infinite values"
    return Check(name, "passed" if finite else "failed", detail)


def _flat(outputs: list[np.ndarray]) -> np.ndarray:
    numbers = [output for output in outputs if output.dtype.kind not in "OSU"]
    return np.concatenate([np.zeros(1), *(np.ravel(n).astype("f8") for n in numbers)])
