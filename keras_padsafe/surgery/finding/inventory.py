"""Finds every vocabulary of a saved model and all that is bound to each."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from keras_padsafe.archive import Archive
from keras_padsafe.archive.archive import FileState
from keras_padsafe.arguments import read_flag
from keras_padsafe.saved_model.graph import read_graph
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.saved_model.layer_tree import read_layer_tree
from keras_padsafe.saved_model.malformed import too_large
from keras_padsafe.surgery.finding.asking import Asking, CannotAsk, ask_keras
from keras_padsafe.surgery.finding.bind_claimed import bind_claimed
from keras_padsafe.surgery.finding.bind_heads import bind_heads
from keras_padsafe.surgery.finding.bind_tables import find_id_spaces
from keras_padsafe.surgery.finding.claims import check_claims, read_claims
from keras_padsafe.surgery.finding.doubt import Doubt
from keras_padsafe.surgery.finding.explain_rest import explain_rest
from keras_padsafe.surgery.finding.follow import bind_followers
from keras_padsafe.surgery.finding.follow_slots import bind_following_slots
from keras_padsafe.surgery.finding.held_in_training import find_held_in_training
from keras_padsafe.surgery.finding.held_words import bind_held_words
from keras_padsafe.surgery.finding.id_sources import changers
from keras_padsafe.surgery.finding.model_file import ModelFile
from keras_padsafe.surgery.finding.near_tables import find_near_tables
from keras_padsafe.surgery.finding.optimizer_slots import bind_slots
from keras_padsafe.surgery.finding.other_outputs import ask_about_outputs, unsure_makers
from keras_padsafe.surgery.finding.other_uses import bind_other_uses
from keras_padsafe.surgery.finding.own_numbers import look_at_own_numbers
from keras_padsafe.surgery.finding.sites import ConfigSite
from keras_padsafe.surgery.finding.tables import known_tables
from keras_padsafe.surgery.finding.unknown_layers import (
    is_own_class,
    own_classes,
    unknown_layers,
)
from keras_padsafe.surgery.finding.vocabulary import Draft, Vocabulary

_MOST_STEPS = 4_000_000  # a few seconds


@dataclass(frozen=True)
class Inventory:
    """What `inspect` found in a file.

    Attributes:
        path: The file.
        model: Class and name of the model.
        keras_version: The version of Keras that saved it.
        vocabularies: Each id space with all that is bound to it.
        arrays: The number of arrays in the file, those of the optimizer included.
        near_tables: The arrays that fell short of the proofs asked of a table, and
            what ids index of which it is not known what counts it.
        asked: Whether Keras had to be asked, so that the change must be proved.
        notes: What a user should know of the whole model.
        also: What the user said belongs to a vocabulary.
        leave: What the user said does not.
        ask: Whether Keras was to be asked in any case.
        state: The state of the file, by which it is known again.
        asking: Keras, asked about the file, if it was.
    """

    path: Path
    model: str
    keras_version: str
    vocabularies: list[Vocabulary]
    arrays: int
    near_tables: tuple[Doubt, ...] = ()
    asked: bool = False
    notes: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    leave: tuple[str, ...] = ()
    ask: bool = False
    state: FileState = ()
    asking: Asking | None = field(default=None, repr=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        """The inventory as plain data, the document behind the table."""
        return {
            "path": str(self.path),
            "model": self.model,
            "keras_version": self.keras_version,
            "arrays": self.arrays,
            "asked": self.asked,
            "notes": list(self.notes),
            "near_tables": [item.to_json() for item in self.near_tables],
            "vocabularies": [v.to_json() for v in self.vocabularies],
        }


def read_inventory(
    archive: Archive,
    also: Iterable[str] = (),
    leave: Iterable[str] = (),
    *,
    ask: bool = False,
) -> Inventory:
    """The inventory of an open archive; `inspect` says what it holds."""
    claims, ask = read_claims(also, leave), read_flag(ask, "ask")
    root = read_layer_tree(archive)
    check_claims(claims, root, archive)
    model = ModelFile(archive, root, read_graph(root), claims)
    makers = unsure_makers(model.graph)
    unknown = [*unknown_layers(root), *claims.uncounted(root)]
    unknown += [one for one in makers if is_own_class(one) and one not in unknown]
    tables = [
        call for t in known_tables(root) for call in model.graph.calls_of(t.layer)
    ]
    computed = any(one.is_operation for one in changers(tables))
    computed |= any(not is_own_class(one) for one in makers)
    if not ask and not unknown and not computed:
        drafts = _find(model)
        if not any(draft.slot_problem for draft in drafts):
            return _inventory(model, ask, drafts)
    doubts: list[Doubt] = []
    try:
        asking = ask_keras(archive, root)
        model = replace(model, asking=asking)
        doubts += _not_held(archive, asking)
    except CannotAsk as problem:
        unsettled = [one for one in unknown if not claims.settles(one)]
        doubts += [_unknown(unsettled, problem)] if unsettled else []
        doubts += [_unproved(problem)] if computed else []
    drafts = _find(model)
    for draft in drafts:
        draft.unexplained = [*doubts, *draft.unexplained]
    needs_proof = bool(unknown) or model.asking is not None
    return _inventory(model, ask, drafts, tuple(doubts), needs_proof=needs_proof)


def _inventory(
    model: ModelFile,
    ask: bool,
    drafts: list[Draft],
    doubts: tuple[Doubt, ...] = (),
    needs_proof: bool = False,
) -> Inventory:
    root, archive = model.root, model.archive
    return Inventory(
        path=archive.path,
        model=root.title,
        keras_version=str(archive.metadata.get("keras_version", "unknown")),
        vocabularies=[draft.finish() for draft in drafts],
        arrays=len(archive.arrays),
        near_tables=(not drafts and doubts) or tuple(find_near_tables(model, drafts)),
        asked=needs_proof,
        notes=tuple(_own_classes(root) if model.asking is None else ()),
        also=model.claims.texts,
        leave=model.claims.leave,
        ask=ask,
        state=archive.state,
        asking=model.asking,
    )


def _own_classes(root: LayerNode) -> Iterator[str]:
    own = own_classes(root)
    if "keras" in sys.modules:
        from keras_padsafe.skeleton import is_registered

        own = [key for key in own if not is_registered(key)]
    if own:
        yield (
            f"The model has classes of your own: {', '.join(own)}. To load it, "
            "`verify` needs the module that registers them: --import MODULE."
        )


def _not_held(archive: Archive, asking: Asking) -> Iterator[Doubt]:
    """Arrays that Keras builds and the file does not hold: it cannot be loaded."""
    lacking = sorted(
        path
        for path in asking.skeleton.shapes.keys() - archive.arrays.keys()
        if not path.startswith("optimizer/")
    )
    if lacking:
        yield Doubt(
            lacking[0],
            f"Keras builds {lacking[0]}, which the file does not hold, so `load_model` "
            "fails on the file as it is. Keras saves so a layer that is a part of "
            "another one and is called by itself too",
            "Build the model so that Keras can load it",
        )


def _unproved(problem: CannotAsk) -> Doubt:
    return Doubt(
        "",
        "operations of the model change ids before they reach a table, or make its "
        "outputs, so a new file must be proved, but Keras could not be asked: "
        f"{problem}",
        "Settle that first",
    )


def _unknown(layers: list[LayerNode], problem: CannotAsk) -> Doubt:
    names = [layer.name for layer in layers]
    classes = ", ".join(dict.fromkeys(layer.key for layer in layers))
    return Doubt(
        names[0],
        f"it is not known what layers of class {classes} hold or make, and Keras could "
        f"not be asked what belongs to the vocabulary: {problem}",
        f"Or add {' '.join(f'--leave {name}' for name in names)} (leave={names}) if "
        "nothing there counts or holds ids",
    )


def _find(model: ModelFile) -> list[Draft]:
    drafts = find_id_spaces(model)
    _check_work(model, len(drafts))
    bind_heads(model, drafts)
    bind_other_uses(model, drafts)
    asking = model.asking
    if asking is not None:
        bind_held_words(model, asking, drafts)
    bind_claimed(model, drafts)
    if asking is not None:
        for draft in drafts:
            if draft.numbers:
                bind_followers(model, asking, draft)
    explain_rest(model, drafts)
    look_at_own_numbers(model, drafts)
    ask_about_outputs(model, drafts)
    find_held_in_training(model, drafts)
    for draft in drafts:
        draft.add_config(_copies(model, draft))
    if asking is None:
        bind_slots(model, drafts)
        return drafts
    for draft in drafts:
        if draft.numbers:
            bind_following_slots(model, asking, draft)
    return drafts


def _check_work(model: ModelFile, vocabularies: int) -> None:
    """Each vocabulary is followed through the whole model."""
    size = len(model.layers) + len(model.graph.calls) + len(model.arrays)
    if vocabularies > 1 and vocabularies * size > _MOST_STEPS:
        raise too_large(
            f"{model.archive.path}: it has {vocabularies} vocabularies among "
            f"{len(model.layers)} layers, more than can be followed one by one"
        )


def _copies(model: ModelFile, draft: Draft) -> list[ConfigSite]:
    """The same places in the other descriptions of a shared layer."""
    return [
        replace(site, path=path, reason=f"copy of shared layer {layer.name!r}")
        for site in draft.config
        for layer in model.around(site.path)
        if site.path[len(layer.path)] != "inbound_nodes"
        for path in layer.copied(site.path)
    ]
