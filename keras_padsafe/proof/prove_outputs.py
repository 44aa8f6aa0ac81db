"""Runs a model and its changed file side by side, on ids that both know."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from keras_padsafe.errors import message_of
from keras_padsafe.facts.spare_words import LOW_SCORE
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
from keras_padsafe.proof.prove_uses import NAME as USES
from keras_padsafe.proof.prove_uses import prove_uses
from keras_padsafe.proof.rows_read import (
    looked_up,
    moved_beyond,
    not_computed,
    not_moved,
    not_seen,
    without_row,
)
from keras_padsafe.proof.run_model import run_model, tolerance
from keras_padsafe.proof.samples import Sampler
from keras_padsafe.saved_model.row_map import NEW

_OLD, _NEW = "old ids keep their outputs", "new ids give finite outputs"
_SPARE = "probability of spare rows"
_MOST_ALONE, _MOST_FEWER = 16, 4
_WITHIN = (
    "no ids were seen to enter a table, and no output has a number for each of them. "
    "Where entries compete within the model, as those of a code book do, new ones may "
    "win where old ones did. Compare the outputs on your own batches"
)


def prove_outputs(
    before: Any,
    after: Any,
    change: IdChange,
    reload: Callable[[], Any],
    leave: Collection[str] = (),
    named: Collection[str] = (),
    alike: Callable[[], Any] | None = None,
) -> Iterator[Check]:
    """Compares what two loaded models compute.

    The weights of `after` are not what they were afterwards. `reload` loads the model
    before once more; `alike` the model after, with lists that have one and the same
    entry for each id, if it has grown any. Layers of `leave` need not know new ids, as
    the user can say of those that are `named`.
    """
    try:
        pair, sampler = pair_models(before, after, change)
        given = zip(pair.old, pair.new, strict=True)
        unlike = (set(old.gives) ^ set(new.gives) for old, new in given)
        change = replace(change, words=frozenset().union(*unlike))
        checks = _compare_old(pair, change, sampler, reload)
        yield from checks
    except (ModelFailed, NotShown, NotCompared) as error:
        yield Check(_OLD, "skipped", str(error))
        if change.row_map.new_count:
            yield Check(_NEW, "skipped", "for the same reason")
        return
    if change.row_map.new_count:
        found = _check_new(pair, change, sampler)
        is_known = checks[0].status != "skipped"
        yield found if is_known else replace(found, status="skipped")
        try:
            size = change.row_map.size
            model = alike() if alike else after
            yield prove_uses(model, change.axes, size, sampler, leave, named)
        except ModelFailed as error:
            yield Check(USES, "skipped", str(error))


def pair_models(
    before: Any, after: Any, change: IdChange | None
) -> tuple[Pair, Sampler]:
    """Two models, which inputs reach what in them, and a maker of batches for both.

    Raises:
        ModelFailed: if the model before takes no batch that could be made for it.
        NotShown: if the models take ids in different places.
    """
    sizes = (change.row_map.old_size, change.row_map.size) if change else (0, 0)
    tables, axes = (change.tables, change.axes) if change else ((), {})
    try:
        old, new = (
            find_doors(model, dict.fromkeys(tables, size), axes)
            for model, size in zip((before, after), sizes, strict=True)
        )
    except Exception as error:  # A layer that cannot say how it was made.
        raise NotShown(f"Keras fails on a layer. {message_of(error)}") from error
    if [door.kind for door in old] != [door.kind for door in new]:
        raise NotShown("the models do not have the same tables and lookups")
    if change is None:
        reach = find_reach(before, old)
    else:
        mine = [d.size for d in old if d.kind == "ids" and d.is_of(change.tables)]
        sizes = [change.row_map.old_size, *mine]
        reach = find_reach(before, old, ids=min(sizes), may_lack=True)
    pair = Pair(before, after, reach, old, new, change)
    return pair, Sampler(pair)


def _compare_old(
    pair: Pair, change: IdChange, sampler: Sampler, reload: Callable[[], Any]
) -> list[Check]:
    watch, total, rounding = Watch(pair.old), Comparison(), tolerance(pair.before)
    note, is_mixed, is_scored = "", False, False
    for batch, renamed in sampler.samples():
        with watch.watching():
            old = run_model(pair.before, batch)
        try:
            try:
                new = run_model(pair.after, renamed)
            except ModelFailed as error:
                raise Differs(f"the new model fails on new ids. {error}") from error
            found = _compared(old, new, change, rounding)
            if isinstance(found, Differs):
                batches = batch, renamed
                found = _beside_share(found, pair, batches, change, rounding)
                is_mixed = True
            total += found
        except Differs as error:
            detail = _unsteady(pair.before, reload, batch, old, rounding)
            if detail := detail or sampler.computed or _may_lack_ids(old, change):
                return [Check(_OLD, "skipped", detail)]
            detail = f"{error}{_of_last_id(pair, change, sampler, rounding)}"
            return [Check(_OLD, "failed", detail, total.gap or None)]
        note = _not_grown(new, change)
        both = zip(old, new, strict=True)
        is_scored |= any(a.shape != b.shape or a.dtype.kind != "f" for a, b in both)
    if detail := (
        not_seen(pair, watch, change)
        or not_moved(pair, watch, change)
        or not_computed(pair, change, sampler)
    ):
        return [Check(_OLD, "skipped", detail)]
    if detail := moved_beyond(pair, sampler):
        return [Check(_OLD, "failed", detail)]
    if not total.compared:
        return [Check(_OLD, "skipped", "the old model gives no finite output")]
    is_fed = sampler.feeds_columns or any(map(pair.is_changed, watch.entered))
    if change.row_map.new_count and not (is_fed or is_scored):
        return [Check(_OLD, "skipped", _WITHIN)]
    if is_mixed:
        note += "; but for the share of a softmax that ids of one file alone take"
    if seen := looked_up(pair, watch):
        found, size = min(map(len, seen)), change.row_map.old_size
        note = f"; {found} of {size} ids looked up{note}"
    if empty := [one.name for one in pair.reach.inputs if not one.places]:
        note += f"; {', '.join(empty)} left empty"
    checks = [Check(_OLD, "passed", f"{total}{note}", total.gap)]
    if total.share is not None:
        detail = f"new ids take at most {total.share:.2%} of the probability"
        checks.append(Check("probability of new ids", "passed", detail, total.share))
    if total.spare is not None:
        detail = (
            f"they take {total.spare:.2%} of the probability" if total.spare else ""
        )
        status = "failed" if detail else "passed"
        checks.append(Check(_SPARE, status, detail or "none at all", total.spare))
    return checks


def _compared(
    old: list[np.ndarray], new: list[np.ndarray], change: IdChange, rounding: float
) -> Comparison | Differs:
    try:
        found = compare_outputs(old, new, change, rounding)
    except Differs as error:
        return error
    return found if found.agrees else Differs(str(found))


def _beside_share(
    differs: Differs,
    pair: Pair,
    batches: tuple[Any, Any],
    change: IdChange,
    rounding: float,
) -> Comparison:
    """How outputs compare where no softmax gives anything to ids of one model alone.

    Raises:
        Differs: as before, if they differ all the same.
    """
    maps = (*change.partial, change.row_map)
    gone = {m.old_size: ~np.isin(np.arange(m.old_size), m.kept[1]) for m in maps}
    made = {m.size: m.ids == NEW for m in maps}
    try:
        old = _without_share(pair.before, batches[0], gone)
        new = _without_share(pair.after, batches[1], made)
    except ModelFailed:
        raise differs from None
    found = _compared(old, new, change, rounding)
    if isinstance(found, Differs):
        raise differs
    return found


def _without_share(
    model: Any, batch: Any, hidden: Mapping[int, np.ndarray]
) -> list[np.ndarray]:
    """What a model gives where softmaxes give nothing to hidden entries, by length."""
    from keras import ops

    from keras_padsafe.compat import softmaxes_get

    def scores(x: Any, axis: int) -> Any:
        marks = hidden.get(x.shape[axis])
        if marks is None or not marks.any():
            return x
        shape = [1] * len(x.shape)
        shape[axis] = len(marks)
        return x + ops.cast(np.where(marks, LOW_SCORE, 0.0).reshape(shape), x.dtype)

    with softmaxes_get(scores):
        return run_model(model, batch)


def _of_last_id(pair: Pair, change: IdChange, sampler: Sampler, rounding: float) -> str:
    """What to do where of all ids that are tried the outputs of the last one differ."""
    differ = list[bool]()
    ids = sampler.each_alone(new=False, most=_MOST_ALONE)  # The last one comes first.
    for batch, rows in ids if change.row_map.is_append else ():
        try:
            both = run_model(pair.before, batch), run_model(pair.after, batch)
        except ModelFailed:
            return ""
        if any(o.ndim == 0 or len(o) < rows for outputs in both for o in outputs):
            return ""
        for row in range(rows):
            old, new = ([o[row : row + 1] for o in outputs] for outputs in both)
            try:
                agrees = compare_outputs(old, new, change, rounding).agrees
            except (Differs, NotCompared):
                agrees = False
            differ.append(not agrees)
    if differ[:1] != [True] or any(differ[1:]):
        return ""
    last = change.row_map.old_size - 1
    return (
        "; of the ids tried, those of the last one alone. If the model knows it by its "
        f"number, as that of a mask, put new ids before it: at={last} (--at {last})"
    )


def _unsteady(
    model: Any,
    reload: Callable[[], Any],
    batch: Any,
    old: list[np.ndarray],
    rounding: float,
) -> str | None:
    """Why a difference shows nothing: the model before does not agree with itself."""
    for again, when in ((lambda: model, "runs on one batch"), (reload, "is loaded")):
        try:
            agrees = compare_outputs(
                old, run_model(again(), batch), None, rounding
            ).agrees
        except Differs:
            agrees = False
        if not agrees:
            return f"the old model gives different outputs each time that it {when}"
    return None


def _may_lack_ids(outputs: list[np.ndarray], change: IdChange) -> str | None:
    """What to say of outputs that have a few numbers fewer than there are ids."""
    for output in outputs if change.moved.size else ():
        length = output.shape[-1] if output.ndim > 1 else 0
        if 0 < change.row_map.old_size - length <= _MOST_FEWER:
            return (
                f"an output of shape {output.shape} differs, and it is not known "
                f"whether it leaves out some of the {change.row_map.old_size} ids. "
                "Compare the outputs on your own batches"
            )
    return None


def _not_grown(outputs: list[np.ndarray], change: IdChange) -> str:
    """What to know of outputs that look like scores of ids and have none for new ids.

    They may as well be classes, as many as there were ids by chance.
    """
    size, old_size = change.row_map.size, change.row_map.old_size
    return "".join(
        f"; output {number} has {old_size} units and does not grow"
        for number, output in enumerate(outputs)
        if output.ndim > 2 and size > old_size == output.shape[-1]
    )


def _check_new(pair: Pair, change: IdChange, sampler: Sampler) -> Check:
    try:
        batches = list(sampler.new_samples())
    except NotShown as error:
        return Check(_NEW, "skipped", str(error))
    if not batches and (detail := sampler.computed):
        return Check(_NEW, "skipped", detail)
    if not batches:
        detail = "no input takes new ids or words of the vocabulary"
        return Check(_NEW, "does not apply", detail)
    every, outputs = set[int](), list[np.ndarray]()
    asked = set(change.row_map.new_ids.tolist())
    for name, batch in batches:
        watch = Watch(pair.new)
        try:
            with watch.watching():
                outputs += run_model(pair.after, batch)
        except ModelFailed as error:
            return Check(_NEW, "failed", str(error))
        seen = asked.intersection(*looked_up(pair, watch))
        if not seen:
            detail = f"no new id of {name} was looked up"
            return Check(_NEW, "skipped", detail)
        every |= seen
    if not all_finite(outputs):
        if all_finite(run_model(pair.before, next(sampler.samples())[0])):
            return Check(_NEW, "failed", "NaN or infinite values")
        detail = (
            "for the inputs that were made up, old ids give no finite outputs either"
        )
        return Check(_NEW, "skipped", detail)
    if detail := without_row(pair, asked, sampler):
        return Check(_NEW, "skipped", detail)
    return Check(_NEW, "passed", f"all finite; {len(every)} new ids looked up")


def all_finite(outputs: list[np.ndarray]) -> bool:
    """Whether every number is finite."""
    return all(np.isfinite(o).all() for o in outputs if o.dtype.kind != "O")
