"""Runs a model and its repaired file side by side on the user's backend."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_padsafe.archive import Archive
from keras_padsafe.proof.bits import as_array, bits
from keras_padsafe.proof.certificate import Check
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
    yield from _outputs(before.model, after.model)


def _weights(before: Any, after: Any) -> Check:
    """Also their order, by which an optimizer finds its slots."""
    name = "weights are the same"
    old, new = (
        [bits(as_array(variable)).tobytes() for variable in model.weights]
        for model in (before, after)
    )
    if getattr(before, "optimizer", None) is None:
        old, new = sorted(old), sorted(new)
    if old == new:
        detail = f"{len(old)} variables, bit for bit"
        return Check(name, "passed", detail, float(len(old)))
    if len(old) != len(new):
        return Check(name, "failed", f"{len(old)} variables became {len(new)}")
    changed = sum(one != other for one, other in zip(old, new, strict=True))
    detail = f"{changed} of {len(old)} variables differ from the old ones"
    return Check(name, "failed", detail, float(changed))


def _outputs(before: Any, after: Any) -> Iterator[Check]:
    try:
        _, sampler = pair_models(before, before, None)
    except (ModelFailed, NotShown) as error:
        yield Check(_ORDINARY, "skipped", str(error))
        yield Check(_PADDED, "skipped", "for the same reason")
        return
    yield _ordinary(before, after, sampler)
    yield _padded(before, after, sampler)


def _ordinary(before: Any, after: Any, sampler: Sampler) -> Check:
    try:
        batch, rounding = sampler.rows_of_ids(padded=False), tolerance(before)
        old, again = run_model(before, batch), run_model(before, batch)
        compared = compare_outputs(old, run_model(after, batch), None, rounding)
        noise = compare_outputs(old, again, None, rounding)
    except ModelFailed as error:
        return Check(_ORDINARY, "skipped", str(error))
    except Differs as error:
        return Check(_ORDINARY, "failed", str(error))
    if not compared.compared:
        return Check(_ORDINARY, "skipped", "the old model gives no finite output")
    agrees = compared.agrees or compared.gap <= 2 * noise.gap
    status = "passed" if agrees else "failed"
    return Check(_ORDINARY, status, str(compared), compared.gap)


def _padded(before: Any, after: Any, sampler: Sampler) -> Check:
    """How far the outputs moved where there is padding: that is the mending."""
    if not sampler.has_pads:
        detail = "no input has a value that is known to mean padding"
        return Check(_PADDED, "does not apply", detail)
    try:
        batch = sampler.rows_of_ids(padded=True)
        old, new = (
            [o.astype("f8") for o in run_model(model, batch) if o.dtype.kind != "O"]
            for model in (before, after)
        )
    except ModelFailed as error:
        return Check(_PADDED, "skipped", str(error))
    if not all_finite(new):
        if not all_finite(old):
            return Check(_PADDED, "skipped", "neither model gives finite outputs")
        detail = "outputs that were finite are NaN or infinite"
        return Check(_PADDED, "failed", detail)
    pairs = [(o, n, np.isfinite(o)) for o, n in zip(old, new, strict=True)]
    gap = max(float(np.abs(n[f] - o[f]).max(initial=0.0)) for o, n, f in pairs)
    mended = sum(int((~finite).sum()) for _, _, finite in pairs)
    detail = f"outputs moved by at most {gap:.1e}"
    if mended:
        detail += f"; {mended} that were NaN or infinite are finite"
    return Check(_PADDED, "passed", detail, gap)
