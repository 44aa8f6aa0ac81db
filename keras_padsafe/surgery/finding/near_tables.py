"""Arrays that may be tables: errors name them where it is not clear what is meant."""

from collections.abc import Iterator
from itertools import islice

from keras_padsafe.facts.operations import BINS, COLUMNS
from keras_padsafe.saved_model.config_path import config_key
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.saved_model.malformed import is_count
from keras_padsafe.surgery.finding.asking import Asking
from keras_padsafe.surgery.finding.columns import takers_of
from keras_padsafe.surgery.finding.counting_numbers import counting_numbers, numbers_in
from keras_padsafe.surgery.finding.doubt import IN_KERAS, Doubt, adding, doubt_of
from keras_padsafe.surgery.finding.encodings import columns_outside, counting_key
from keras_padsafe.surgery.finding.model_file import ModelFile
from keras_padsafe.surgery.finding.shown_tables import (
    owner_of,
    shown_tables,
    unbuilt,
    uncounted,
)
from keras_padsafe.surgery.finding.tables import stored_tables
from keras_padsafe.surgery.finding.unknown_layers import is_own_class
from keras_padsafe.surgery.finding.vocabulary import Draft

_MOST = 10


def find_near_tables(model: ModelFile, drafts: list[Draft]) -> list[Doubt]:
    """The first few, each with what speaks against it and the flag that settles it.

    Beside known tables they are those that a number may count.
    """
    found: list[Doubt] = []
    if model.asking and all(draft.is_made_inside for draft in drafts):
        found += _columns(model, model.asking, drafts)
    if drafts:
        return [*found, *(_beside(model, model.asking, drafts) if model.asking else ())]
    if model.asking is not None:
        arrays = {array.path: array for _, array in model.arrays}
        found += shown_tables(model.asking, arrays, [])[1]
        missing = filter(model.asking.lacks, model.asking.unlike)
        of_model = (path for path in missing if path in arrays)
        found += [unbuilt(model.asking, path) for path in islice(of_model, 1)]
    for layer in model.layers:
        for table in stored_tables(layer):
            if table.contradiction is not None:
                problem = f"layer {layer.name!r} of class {layer.key}: "
                remedy = "Save the model again with Keras, so that both agree"
                what = problem + table.contradiction
                found.append(Doubt(table.array.path, what, remedy))
        found += _encodings(layer, model)
    found += _inputs(model)
    if model.asking is not None and not found:
        found += _counted(model, model.asking)
    return found[:_MOST]


def _beside(model: ModelFile, asking: Asking, drafts: list[Draft]) -> Iterator[Doubt]:
    known = {site.path for draft in drafts for site in draft.arrays}
    others = asking.inside.tables.keys() - asking.inside.positions - known
    for path, axis in asking.inside.tables.items():
        if path not in others or path not in model.archive.arrays:
            continue
        if model.claims.leaves(owner_of(asking.root, path), path):
            continue
        counting = counting_numbers(asking, path, axis, far=False)
        if counting.problem and not counting.is_fixed:
            yield uncounted(asking, path, axis, counting)


def _columns(model: ModelFile, asking: Asking, drafts: list[Draft]) -> Iterator[Doubt]:
    """Arrays with a row for each of the columns that a layer makes of ids."""
    known = {*asking.inside.tables, *(s.path for d in drafts for s in d.arrays)}
    for layer, array in model.arrays:
        if array.path in known or len(array.shape) < 2 or model.claims.leaves(layer):
            continue
        if any(
            f"{array.path}/".startswith(f"{group}/" if group else "")
            for group, widths in asking.inside.columns.items()
            if array.shape[0] in widths
        ):
            yield Doubt(
                array.path,
                f"array {array.path} of shape {array.shape} in {layer.title}: it has "
                f"a row for each of the {array.shape[0]} columns that are made of ids "
                "there (one_hot or multi_hot)",
                f"{adding(f'{array.path}:0')} if it is the table",
            )


def _inputs(model: ModelFile) -> Iterator[Doubt]:
    """Inputs that may take columns of ids: they look like any features."""
    for layer, width in islice(columns_outside(model), _MOST):
        for site in takers_of(model, [layer], width.value).kernels[:1]:
            yield doubt_of(
                layer,
                f"takes {width.value} columns, which {site.path} takes in: features, "
                "or a column of each id, made outside the model",
                f"{adding(f'{site.path}:{site.axis}')} if they are columns of ids",
            )


def _counted(model: ModelFile, asking: Asking) -> Iterator[Doubt]:
    """Weights that a class of the user's own makes in as many rows as it is told."""
    for layer in filter(is_own_class, model.layers):
        counts = numbers_in(layer.config, (*layer.path, "config"))
        for place, count in islice(counts, _MOST):
            axes = asking.vary((place,)).axes
            for relative, array in layer.arrays.items():
                if relative.startswith("vars/") and axes.get(array.path) == 0:
                    yield doubt_of(
                        layer,
                        f"holds {array.path} of shape {array.shape}, with a row for "
                        f"each that {config_key(place)}={count} counts: it is not "
                        "shown that ids pick them",
                        f"{adding(f'{array.path}:0:{asking.flag_key(place, layer)}')} "
                        "if they do",
                    )


def _encodings(layer: LayerNode, model: ModelFile) -> Iterator[Doubt]:
    """Ids that become columns, which were not seen to reach weights for each."""
    if layer.kind in BINS and layer.config.get("output_mode", "int") != "int":
        yield doubt_of(
            layer,
            "makes a column for each bin. No word has one of its own, and with more "
            "bins old words get other columns",
            "Train a model with more bins instead",
        )
    key = counting_key(layer, model)
    if key is None and layer.kind not in COLUMNS:
        return
    size = layer.config.get(key) if key else None
    takers = takers_of(model, [layer], size if is_count(size) else 0)
    yield from takers.unexplained
    if not takers.unexplained:
        yield doubt_of(
            layer,
            "makes a column for each id, but no layer with a weight for each column "
            "was found",
            IN_KERAS,
        )
