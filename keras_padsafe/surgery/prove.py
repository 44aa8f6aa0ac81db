"""Proves what a plan did to a file, before anyone relies on it."""

import os
from collections.abc import Iterator
from pathlib import Path

from keras_padsafe.archive import Archive, open_archive
from keras_padsafe.proof.certificate import Certificate, Check
from keras_padsafe.proof.id_change import IdChange
from keras_padsafe.saved_model.layer_tree import read_layer_tree
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
    )
    yield from prove_tokenizers(
        (before.model, source.path),
        (after.model, target.path),
        {words.layer for words in plan.words},
        plan.tokens,
        change,
    )


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
