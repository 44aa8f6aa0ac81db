"""Runs a model and its repaired file side by side on the user's backend."""

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_padsafe.audit.mending.sample_rows import RowSampler, SampleInput
from keras_padsafe.proof.certificate import Check
from keras_padsafe.proof.run_model import (
    ModelFailed,
    load_pair,
    make_batch,
    run_model,
    tolerance,
)
from keras_padsafe.saved_model.layer_node import LayerNode

_ORDINARY = "rows without padding keep their outputs"
_PADDED = "rows with padding"


def prove_repair(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    root: LayerNode,
    inputs: dict[str, SampleInput],
) -> Iterator[Check]:
    """Loads both files with Keras and compares weights, optimizer and outputs.

    Args:
        source: The file before.
        target: The file after.
        root: The model of `source`.
        inputs: What its inputs take.
    """
    loads, pair = load_pair(source, target)
    yield loads
    if pair is None:
        return
    before, after = pair.before, pair.after
    yield _weights(before, after)
    yield _optimizer(before, after, pair.unread_before, pair.unread_after)
    yield _ordinary(before, after, root, inputs)
    yield _padded(before, after, root, inputs)


def _weights(before: Any, after: Any) -> Check:
    """Also their order, by which an optimizer finds its slots."""
    name = "weights are the same"
    old, new = ([_bytes(v) for v in model.weights] for model in (before, after))
    order_counts = getattr(before, "optimizer", None) is not None
    if not order_counts:
        old, new = sorted(old), sorted(new)
    if old == new:
        detail = f"{len(old)} variables, bit for bit"
        return Check(name, "passed", detail, float(len(old)))
    if len(old) != len(new):
        return Check(name, "failed", f"{len(old)} variables became {len(new)}")
    changed = sum(one != other for one, other in zip(old, new, strict=True))
    detail = f"{changed} of {len(old)} variables are not what they were in their place"
    return Check(name, "failed", detail, float(changed))


def _optimizer(before: Any, after: Any, usual: str | None, unread: str | None) -> Check:
    name = "optimizer goes on"
    if usual:
        detail = f"Keras does not read the state of the file before either: {usual}"
        return Check(name, "skipped", detail)
    if unread:
        return Check(name, "failed", unread)
    old, new = (getattr(model, "optimizer", None) for model in (before, after))
    if old is None or new is None or not new.built:
        return Check(name, "skipped", "no optimizer was saved")
    slots, new_slots = ([_bytes(v) for v in one.variables] for one in (old, new))
    steps = int(new.iterations)
    if slots != new_slots:
        return Check(name, "failed", "its variables are not as they were", steps)
    detail = f"{type(new).__name__} at step {steps}, {len(slots)} variables"
    return Check(name, "passed", detail, float(steps))


def _ordinary(
    before: Any, after: Any, root: LayerNode, inputs: dict[str, SampleInput]
) -> Check:
    try:
        batch = make_batch(before, root, RowSampler(inputs, padded=False).sample)
        old, again, new = (_run(model, batch) for model in (before, before, after))
    except ModelFailed as error:
        return Check(_ORDINARY, "skipped", str(error))
    if [o.shape for o in old] != [n.shape for n in new]:
        return Check(_ORDINARY, "failed", "the outputs have other shapes")
    if not any(np.isfinite(o).any() for o in old):
        return Check(_ORDINARY, "skipped", "the model before gives no finite output")
    gap, noise = _gap(old, new), _gap(old, again)
    scale = max(float(np.abs(np.nan_to_num(o)).max(initial=0.0)) for o in old)
    allowed = max(tolerance(before) * max(scale, 1e-6), 2 * noise)
    exact = "identical to the last bit" if gap == 0 else f"differ by {gap:.1e}"
    status = "passed" if gap <= allowed else "failed"
    return Check(_ORDINARY, status, f"{exact} (allowed {allowed:.1e})", gap)


def _padded(
    before: Any, after: Any, root: LayerNode, inputs: dict[str, SampleInput]
) -> Check:
    """How far the outputs moved where there is padding: that is the mending."""
    try:
        sampler = RowSampler(inputs, padded=True)
        batch = make_batch(before, root, sampler.sample)
        if not sampler.has_padded:
            raise ModelFailed("the file does not show what stands for padding")
        old, new = _run(before, batch), _run(after, batch)
    except ModelFailed as error:
        return Check(_PADDED, "skipped", str(error))
    if not all(np.isfinite(output).all() for output in new):
        if all(np.isfinite(output).all() for output in old):
            return Check(_PADDED, "failed", "NaN or infinite where it was finite")
        return Check(_PADDED, "skipped", "neither model gives finite outputs")
    finite = [np.isfinite(output) for output in old]
    gap = _gap(
        [o[f] for o, f in zip(old, finite, strict=True)],
        [n[f] for n, f in zip(new, finite, strict=True)],
    )
    mended = sum(int((~f).sum()) for f in finite)
    detail = f"outputs moved by at most {gap:.1e}"
    if mended:
        detail += f"; {mended} that were NaN or infinite are finite"
    return Check(_PADDED, "passed", detail, gap)


def _run(model: Any, batch: Any) -> list[np.ndarray]:
    outputs = run_model(model, batch)
    if any(output.dtype.kind in "OSU" for output in outputs):
        raise ModelFailed("the model gives text")
    return [output.astype("float64") for output in outputs]


def _gap(old: list[np.ndarray], new: list[np.ndarray]) -> float:
    """Largest difference; NaN is equal to NaN."""
    largest = 0.0
    for before, after in zip(old, new, strict=True):
        same = (before == after) | (np.isnan(before) & np.isnan(after))
        with np.errstate(invalid="ignore"):
            gaps = np.where(same, 0.0, np.abs(after - before))
        largest = max(largest, float(np.nan_to_num(gaps, nan=np.inf).max(initial=0.0)))
    return largest


def _bytes(variable: Any) -> bytes:
    import keras

    return np.asarray(keras.ops.convert_to_numpy(variable)).tobytes()
