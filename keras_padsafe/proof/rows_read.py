"""Which rows ids were seen to read while both models ran, and what that leaves open."""

from typing import Any

import numpy as np

from keras_padsafe.proof.doors import Watch
from keras_padsafe.proof.id_change import IdChange
from keras_padsafe.proof.load_models import ModelFailed
from keras_padsafe.proof.pools import Pair
from keras_padsafe.proof.run_model import run_model
from keras_padsafe.proof.samples import Sampler

_MOST = 16


def not_seen(pair: Pair, watch: Watch, change: IdChange) -> str | None:
    """Which tables of the vocabulary no ids were seen to enter."""
    missing = []
    for path in sorted(change.tables):
        of_it = [n for n, d in enumerate(pair.old) if d.is_of(frozenset((path,)))]
        entered = [watch.seen(n) for n in of_it]
        if not of_it or any(ids is None or not ids.size for ids in entered):
            missing.append(pair.old[of_it[0]].path if of_it else path)
    if not missing:
        return None
    return (
        f"no ids were seen at {', '.join(missing)}. Ids are seen where a layer of "
        "Keras or `keras.ops.take(table, ids, axis=0)` looks them up, outside of "
        "compiled loops. Compare the outputs on your own batches"
    )


def not_moved(pair: Pair, watch: Watch, change: IdChange) -> str | None:
    """What is to say of a table where no id was looked up that has another number."""
    moved = np.intersect1d(change.moved, change.row_map.kept[1])
    for number in pair.changed_ids(tuple(watch.entered)) if moved.size else ():
        seen = watch.seen(number)
        if seen is not None and not np.isin(seen, moved).any():
            return (
                "none of the ids that have other numbers now was looked up in "
                f"{pair.old[number].path}. Compare the outputs on your own batches"
            )
    return None


def not_computed(pair: Pair, change: IdChange, sampler: Sampler) -> str | None:
    """What is to say where not all ids that moved were computed of an input."""
    if sampler.computed is None:
        return None
    watch = Watch(pair.old)
    for batch, part in sampler.computed_alone(change.moved):
        with watch.watching():
            run_model(pair.before, batch)
        seen = [watch.seen(number) for number in pair.changed_ids(part.derived)]
        if all(s is not None and np.isin(change.moved, s).all() for s in seen):
            return None
    return sampler.computed


def moved_beyond(pair: Pair, sampler: Sampler) -> str | None:
    """What is wrong where a model brings ids that no table has into range by itself.

    Those that it does not bring there read one row that both models have, so that what
    is computed of them is the same.
    """
    beyond = list(sampler.beyond_samples())
    within = [_seen(pair, 0, one) for one in sampler.two_samples()] if beyond else []
    for batch in beyond:
        try:
            before, after = (_seen(pair, side, batch) for side in range(2))
        except ModelFailed:  # They go straight into something that is not watched.
            continue
        for number in _reached(pair, before):
            others = [watch.seen(number) for watch in within]
            both = before.seen(number), after.seen(number)
            if detail := _moved(pair, number, *both, others):
                return detail
    return None


def _reached(pair: Pair, watch: Watch) -> list[int]:
    """The doors to look at: of ids that a table of theirs has no row for, those alone.

    What a model makes of such ids elsewhere means nothing.
    """
    doors = range(len(pair.old))
    own = [n for n in doors if pair.is_changed(n) and pair.old[n].kind == "ids"]
    entered = [(pair.old[n].size, watch.seen(n)) for n in own]
    is_lost = any(
        ids is not None and ((ids < 0) | (ids >= size)).any() for size, ids in entered
    )
    return own if is_lost else [*doors]


def _seen(pair: Pair, side: int, batch: Any) -> Watch:
    """What enters the doors of one of the models."""
    watch = Watch((pair.old, pair.new)[side], instead=pair.last_kept(side))
    with watch.watching():
        run_model((pair.before, pair.after)[side], batch)
    return watch


def _moved(
    pair: Pair,
    number: int,
    old: np.ndarray | None,
    new: np.ndarray | None,
    others: list[np.ndarray | None],
) -> str | None:
    """What is wrong at one door, from the rows that these ids reach there.

    What is the same for all `others` is made of no input.
    """
    change, door = pair.change, pair.old[number]
    if change is None or door.kind != "ids":
        return None
    if old is None or new is None or old.shape != new.shape:
        return None
    if all(one is not None and one.shape == old.shape for one in others):
        is_made = np.any([one != old for one in others], axis=0)
        old, new = old[is_made], new[is_made]
    is_row, rows = (old >= 0) & (old < door.size), old
    lost = np.zeros(old.shape, bool)
    if pair.is_changed(number):
        lost = is_row & ~np.isin(old, change.row_map.kept[1])
        rows = change.renamed(np.where(is_row, old, 0).astype(int))
    if not (moved := old[is_row & (lost | (rows != new))]).size:
        return None
    detail = (
        "the model maps ids that no table has into its range, and they now reach other "
        f"rows ({door.path})"
    )
    last = door.size - 1
    if set(moved.tolist()) != {last}:
        return detail
    remedy = f"keep id {last} too"
    if change.row_map.is_append:
        remedy = f"put new ones before it: at={last} (--at {last})"
    elif not lost.any():
        remedy = "give it the last of the new ids"
    return (
        f"{detail}. If the last row stands for unknown ids, {remedy}. If no such id is "
        "ever given, pass proof=False (--no-proof)"
    )


def without_row(pair: Pair, asked: set[int], sampler: Sampler) -> str | None:
    """What is to say where a new id reads the row of another."""
    if not sampler.feeds_new_ids:
        return None
    watch, count = Watch(pair.new), 0
    with watch.watching():
        for batch, rows in sampler.each_alone(new=True, most=_MOST):
            run_model(pair.after, batch)
            count += rows
    read = max((len(asked & ids) for ids in looked_up(pair, watch)), default=count)
    if read >= count:  # Or no table is looked up by ids.
        return None
    return (
        f"{count - read} of {count} new ids that were tried read no row of their own, "
        "but that of another id. If that is meant, pass proof=False (--no-proof)"
    )


def looked_up(pair: Pair, watch: Watch) -> list[set[int]]:
    """The ids that were seen to enter each table of the vocabulary."""
    numbers = pair.changed_ids(tuple(watch.entered))
    entered = [watch.seen(number) for number in numbers]
    return [set() if ids is None else set(np.unique(ids).tolist()) for ids in entered]
