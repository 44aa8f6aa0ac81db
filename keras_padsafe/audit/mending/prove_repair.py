"""Runs a model and its repaired file side by side on the user's backend."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_padsafe.archive import Archive
from keras_padsafe.proof.bits import as_array, bits
from keras_padsafe.proof.certificate import Check, Status
from keras_padsafe.proof.compare_outputs import Differs, compare_outputs
from keras_padsafe.proof.load_models import (
    ModelFailed,
    check_arrays,
    check_optimizer,
    load_pair,
)
from keras_padsafe.proof.pools import NotShown
from keras_padsafe.proof.prove_outputs import all_finite, pair_models
from keras_padsafe.proof.run_model import run_model, tolerance
from keras_padsafe.proof.samples import Sampler

_ORDINARY = "rows without padding keep their outputs"
_PADDED = "rows with padding"
_Found = tuple[Status, str, float | None]


def prove_repair(source: Archive, target: Archive) -> Iterator[Check]:
    """Loads both files with Keras and compares weights, optimizer and outputs."""
    loads, pair = load_pair(source, target)
    yield loads
    if pair is None:
        return
    before, after = pair
    yield check_arrays(before, after)
    yield _weights(before.model, after.model)
    yield check_optimizer(before, after, target, dropped=False)
    try:
        _, sampler = pair_models(before.model, before.model, None)
    except (ModelFailed, NotShown) as error:
        yield Check(_ORDINARY, "skipped", str(error))
        yield Check(_PADDED, "skipped", "for the same reason")
        return
    for name, compare in ((_ORDINARY, _ordinary), (_PADDED, _padded)):
        try:
            yield Check(name, *compare(before.model, after.model, sampler))
        except ModelFailed as error:
            yield Check(name, "skipped", str(error))


def _weights(before: Any, after: Any) -> Check:
    """Also their order, by which an optimizer finds its slots."""
    name = "weights are the same"
    old, new = (
        [bits(as_array(variable)).tobytes() for variable in model.weights]
        for model in (before, after)
    )
    if len(old) != len(new):
        return Check(name, "failed", f"{len(old)} variables became {len(new)}")
    if getattr(before, "optimizer", None) is None:
        old, new = sorted(old), sorted(new)
    changed = sum(one != other for one, other in zip(old, new, strict=True))
    if changed:
        detail = f"{changed} of {len(old)} variables differ from the old ones"
        return Check(name, "failed", detail, float(changed))
    return Check(name, "passed", f"{len(old)} variables, bit for bit", float(len(old)))


def _ordinary(before: Any, after: Any, sampler: Sampler) -> _Found:
    batch, rounding = sampler.rows_of_ids(padded=False), tolerance(before)
    old, again, new = (run_model(model, batch) for model in (before, before, after))
    try:
        compared = compare_outputs(old, new, None, rounding)
        noise = compare_outputs(old, again, None, rounding)
    except Differs as error:
        return "failed", str(error), None
    if not compared.compared:
        return "skipped", "the old model gives no finite output", None
    agrees = compared.agrees or compared.gap <= 2 * noise.gap
    return "passed" if agrees else "failed", str(compared), compared.gap


def _padded(before: Any, after: Any, sampler: Sampler) -> _Found:
    """How far the outputs moved where there is padding: that is the mending."""
    if not sampler.has_pads:
        detail = "no input has a value that is known to mean padding"
        return "does not apply", detail, None
    batch = sampler.rows_of_ids(padded=True)
    old, new = (
        [o.astype("f8") for o in run_model(model, batch) if o.dtype.kind != "O"]
        for model in (before, after)
    )
    if not all_finite(new):
        if not all_finite(old):
            return "skipped", "neither model gives finite outputs", None
        return "failed", "outputs that were finite are NaN or infinite", None
    pairs = [(o, n, np.isfinite(o)) for o, n in zip(old, new, strict=True)]
    gap = max(float(np.abs(n[f] - o[f]).max(initial=0.0)) for o, n, f in pairs)
    mended = sum(int((~finite).sum()) for _, _, finite in pairs)
    detail = f"outputs moved by at most {gap:.1e}"
    if mended:
        detail += f"; {mended} that were NaN or infinite are finite"
    return "passed", detail, gap
