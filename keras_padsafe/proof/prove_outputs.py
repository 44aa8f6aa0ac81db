"""Runs a model and its changed file side by side, on ids that both know."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from keras_padsafe.proof.certificate import Check
from keras_padsafe.proof.compare_outputs import (
    Comparison,
    Differs,
    NotCompared,
    compare_outputs,
)
from keras_padsafe.proof.doors import Watch, find_doors
from keras_padsafe.proof.find_reach import find_reach
from keras_padsafe.proof.id_change import IdChange
from keras_padsafe.proof.load_models import ModelFailed
from keras_padsafe.proof.pools import NotShown, Pair
from keras_padsafe.proof.run_model import run_model, tolerance
from keras_padsafe.proof.samples import Sample, Sampler

_OLD, _NEW = "old ids keep their outputs", "new ids give finite outputs"


@dataclass
class _Entered:
    """The ids that were seen to enter the tables of the vocabulary."""

    seen: dict[int, set[int]] = field(default_factory=dict)

    def add(self, pair: Pair, watch: Watch) -> None:
        for number, calls in watch.entered.items():
            if not pair.is_changed(number) or pair.old[number].kind != "ids":
                continue
            found = self.seen.setdefault(number, set())
            for call in calls:
                found |= set() if call is None else set(np.unique(call).tolist())


def prove_outputs(before: Any, after: Any, change: IdChange) -> Iterator[Check]:
    """Compares what two loaded models compute.

    Args:
        before: The model before.
        after: The model after.
        change: How the ids of a vocabulary changed.
    """
    try:
        pair, sampler = pair_models(before, after, change)
        yield from _compare_old(before, after, pair, sampler)
    except (ModelFailed, NotShown, NotCompared) as error:
        yield Check(_OLD, "skipped", str(error))
        if len(change.new_ids):
            yield Check(_NEW, "skipped", "for the same reason")
        return
    if len(change.new_ids):
        yield _check_new(before, after, pair, sampler)


def pair_models(
    before: Any, after: Any, change: IdChange | None
) -> tuple[Pair, Sampler]:
    """Two models, which inputs reach what in them, and a maker of batches for both.

    Raises:
        ModelFailed: if the model before takes no batch that could be made for it.
        NotShown: if the models take ids in different places.
    """
    old, new = find_doors(before), find_doors(after)
    if [door.kind for door in old] != [door.kind for door in new]:
        raise NotShown("the models do not have the same tables and lookups")
    pair = Pair(find_reach(before, old), old, new, change)
    return pair, Sampler(pair, before)


def _compare_old(
    before: Any, after: Any, pair: Pair, sampler: Sampler
) -> Iterator[Check]:
    total, entered, rounding = Comparison(), _Entered(), tolerance(before)
    for sample in sampler.samples():
        old = _watched(before, sample.old, pair, entered)
        try:
            try:
                new = run_model(after, sample.new)
            except ModelFailed as error:
                raise Differs(f"the new model fails on them. {error}") from error
            total += compare_outputs(old, new, pair.change, rounding)
            if not total.agrees:
                raise Differs(str(total))
        except Differs as error:
            yield _differs(before, sample, old, str(error), total, rounding)
            return
    yield _not_seen(pair, entered) or _agrees(pair, total, entered)
    if total.share is not None:
        detail = f"new ids take at most {total.share:.2%} of the probability"
        yield Check("probability of new ids", "passed", detail, total.share)


def _watched(model: Any, batch: Any, pair: Pair, entered: _Entered) -> list[np.ndarray]:
    watch = Watch(pair.old)
    with watch.watching():
        outputs = run_model(model, batch)
    entered.add(pair, watch)
    return outputs


def _differs(
    before: Any,
    sample: Sample,
    old: list[np.ndarray],
    how: str,
    total: Comparison,
    rounding: float,
) -> Check:
    """What a difference shows: nothing, if the model differs from itself as well."""
    again = run_model(before, sample.old)
    try:
        steady = compare_outputs(old, again, None, rounding).agrees
    except Differs:
        steady = False
    if steady:
        return Check(_OLD, "failed", how, total.gap or None)
    detail = "the model gives other outputs each time that it runs on one batch"
    return Check(_OLD, "skipped", detail)


def _not_seen(pair: Pair, entered: _Entered) -> Check | None:
    """The check, if ids of the vocabulary were not seen to be looked up."""
    change = pair.change
    assert change is not None
    tables = [n for n, door in enumerate(pair.old) if door.is_of(change.tables)]
    missing = [
        path
        for path in sorted(change.tables)
        if not any(pair.old[n].is_of(frozenset((path,))) for n in tables)
    ]
    missing += [
        pair.old[n].path
        for n in tables
        if n in pair.reach.unseen or not entered.seen.get(n)
    ]
    if not missing:
        return None
    detail = (
        f"no ids were seen to enter {', '.join(missing)}. Ids are seen where a layer "
        "of Keras or `keras.ops.take(table, ids, axis=0)` looks them up, outside of "
        "compiled loops. Compare the outputs on batches of your own"
    )
    return Check(_OLD, "skipped", detail)


def _agrees(pair: Pair, total: Comparison, entered: _Entered) -> Check:
    if not total.compared:
        return Check(_OLD, "skipped", "the model before gives no finite output")
    assert pair.change is not None
    seen = [len(ids) for ids in entered.seen.values()]
    ids = f"; {min(seen)} of {pair.change.old_size} ids looked up" if seen else ""
    return Check(_OLD, "passed", f"{total}{ids}", total.gap)


def _check_new(before: Any, after: Any, pair: Pair, sampler: Sampler) -> Check:
    try:
        batch = sampler.new_sample()
    except NotShown as error:
        return Check(_NEW, "skipped", str(error))
    if batch is None:
        detail = "no input takes ids or words of the vocabulary"
        return Check(_NEW, "does not apply", detail)
    watch, entered = Watch(pair.new), _Entered()
    try:
        with watch.watching():
            outputs = run_model(after, batch)
    except ModelFailed as error:
        return Check(_NEW, "failed", str(error))
    entered.add(pair, watch)
    assert pair.change is not None
    seen = set(pair.change.new_ids.tolist()).intersection(*entered.seen.values())
    if not all_finite(outputs):
        if all_finite(run_model(before, next(sampler.samples()).old)):
            return Check(_NEW, "failed", "NaN or infinite values")
        detail = "old ids do not give finite outputs either"
        return Check(_NEW, "skipped", detail)
    if not seen:
        return Check(_NEW, "skipped", "no new id was seen to be looked up")
    return Check(_NEW, "passed", f"all finite; {len(seen)} new ids looked up")


def all_finite(outputs: list[np.ndarray]) -> bool:
    """Whether every number is finite."""
    return all(np.isfinite(o).all() for o in outputs if o.dtype.kind != "O")
