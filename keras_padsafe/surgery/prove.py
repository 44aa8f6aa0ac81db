"""Proves what a plan did to a file, before anyone relies on it."""

import copy
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from keras_padsafe.archive import Archive, open_archive, write_archive
from keras_padsafe.proof.certificate import Certificate, Check
from keras_padsafe.proof.id_change import IdChange
from keras_padsafe.saved_model.config_path import value_at
from keras_padsafe.saved_model.layer_tree import read_layer_tree
from keras_padsafe.saved_model.word_lists import entries_at, has_entries, with_entries
from keras_padsafe.surgery.planning.plan import Plan
from keras_padsafe.surgery.transfer.compare_files import compare_files


def prove(
    plan: Plan, source: str | os.PathLike[str], target: str | os.PathLike[str]
) -> Certificate:
    """Shows on the files and by running both models what a plan did."""
    with open_archive(source) as before, open_archive(target) as after:
        checks = [*compare_files(plan, before, after), *_run(plan, before, after)]
    import keras

    backend = keras.backend.backend()
    return Certificate(Path(source), Path(target), backend, tuple(checks))


def _run(plan: Plan, source: Archive, target: Archive) -> Iterator[Check]:
    from keras_padsafe.proof.load_models import (
        check_arrays,
        check_optimizer,
        load_model,
        load_pair,
    )
    from keras_padsafe.proof.prove_outputs import prove_outputs
    from keras_padsafe.proof.prove_tokenizers import prove_tokenizers

    loads, pair = load_pair(source, target)
    yield loads
    if pair is None:
        return
    before, after = pair
    yield check_arrays(before, after)
    yield check_optimizer(before, after, target, dropped=plan.optimizer == "drop")
    change = id_change(plan)
    yield from prove_outputs(
        before.model,
        after.model,
        change,
        lambda: load_model(source.path)[0],
        leave=plan.leave,
        named={node.name for node in read_layer_tree(source).walk() if node.parent},
        alike=_alike(plan, target),
    )
    yield from prove_tokenizers(
        (before.model, source.path),
        (after.model, target.path),
        {words.layer for words in plan.words},
        plan.tokens,
        change,
    )


def _alike(plan: Plan, target: Archive) -> Callable[[], Any] | None:
    """Loads the new model with the same entry for each id in every list that grew."""
    lists = [one for one in plan.config if has_entries(one.new, plan.new_size)]

    def load() -> Any:
        from keras_padsafe.proof.load_models import load_model

        config = copy.deepcopy(target.config)
        for change in lists:
            same = with_entries(change.new, entries_at(change.new, [0]) * plan.new_size)
            value_at(config, change.path[:-1])[change.path[-1]] = same
        with TemporaryDirectory() as folder:
            write_archive(path := Path(folder) / "alike.keras", target, config=config)
            return load_model(path)[0]

    return load if lists else None


def id_change(plan: Plan) -> IdChange:
    """What a plan says of ids and arrays, as plain data."""
    weights = [c for c in plan.arrays if not c.path.startswith("optimizer/")]
    partial = {
        (c.skips, c.new_skips, c.starts, c.shape[c.axis]): c.own(plan.row_map)
        for c in weights
    }
    return IdChange(
        row_map=plan.row_map,
        axes={c.path: c.axis for c in weights},
        tables=frozenset(
            [
                *(c.path for c in weights if c.role == "embedding table"),
                *plan.encoders,
            ]
        ),
        partial=tuple(partial.values()),
        pad=plan.pad,
        old_spare=plan.old_spare_ids,
        spare=plan.inverse().old_spare_ids,
    )
