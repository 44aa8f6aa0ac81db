"""Finds every vocabulary of a saved model and all that is bound to each."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_padsafe.archive import Archive
from keras_padsafe.saved_model.graph import read_graph
from keras_padsafe.saved_model.layer_tree import read_layer_tree
from keras_padsafe.surgery.finding.bind_claimed import bind_claimed
from keras_padsafe.surgery.finding.bind_heads import bind_heads
from keras_padsafe.surgery.finding.bind_tables import find_id_spaces
from keras_padsafe.surgery.finding.claims import check_claims, read_claims
from keras_padsafe.surgery.finding.explain_rest import explain_rest
from keras_padsafe.surgery.finding.model_file import ModelFile, add_config
from keras_padsafe.surgery.finding.near_tables import find_near_tables
from keras_padsafe.surgery.finding.optimizer_slots import SlotError, find_slots
from keras_padsafe.surgery.finding.other_takers import find_other_takers
from keras_padsafe.surgery.finding.sites import ConfigSite
from keras_padsafe.surgery.finding.vocabulary import Unexplained, Vocabulary


@dataclass(frozen=True)
class Inventory:
    """What `inspect` found in a file.

    Attributes:
        path: The file.
        model: Class and name of the model.
        keras_version: The version of Keras that saved it.
        vocabularies: Each id space with all that is bound to it.
        arrays: The number of arrays in the file, those of the optimizer included.
        near_tables: Where no vocabulary was found, the arrays that fell short of the
            proofs asked of a table.
    """

    path: Path
    model: str
    keras_version: str
    vocabularies: list[Vocabulary]
    arrays: int
    near_tables: tuple[Unexplained, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The inventory as plain data, the document behind the table."""
        return {
            "path": str(self.path),
            "model": self.model,
            "keras_version": self.keras_version,
            "arrays": self.arrays,
            "vocabularies": [v.to_json() for v in self.vocabularies],
        }


def read_inventory(
    archive: Archive, also: Iterable[str] = (), leave: Iterable[str] = ()
) -> Inventory:
    """The inventory of an open archive; `inspect` says what it holds."""
    root = read_layer_tree(archive)
    claims = read_claims(also, leave)
    check_claims(claims, root, archive)
    model = ModelFile(archive, root, read_graph(root), claims)
    vocabularies = _find_vocabularies(model)
    return Inventory(
        path=archive.path,
        model=f"{root.class_name} {root.name!r}",
        keras_version=str(archive.metadata.get("keras_version", "unknown")),
        vocabularies=vocabularies,
        arrays=len(archive.arrays),
        near_tables=() if vocabularies else tuple(find_near_tables(root)),
    )


def _find_vocabularies(model: ModelFile) -> list[Vocabulary]:
    spaces = find_id_spaces(model)
    bind_heads(model, spaces)
    vocabularies = [space.vocabulary for space in spaces]
    for space in spaces:
        space.vocabulary.unexplained += find_other_takers(space, spaces, model)
    for vocabulary in vocabularies:
        bind_claimed(model, vocabulary)
    for vocabulary in vocabularies:
        explain_rest(model, vocabulary, vocabularies)
        add_config(vocabulary, _copies(model, vocabulary))
        _bind_slots(model, vocabulary)
    return vocabularies


def _copies(model: ModelFile, vocabulary: Vocabulary) -> list[ConfigSite]:
    """The same places in the other descriptions of a shared layer."""
    return [
        ConfigSite(
            (*copy.path, *site.path[len(layer.path) :]),
            site.value,
            site.follows,
            f"copy of shared layer {layer.name!r}",
        )
        for layer in model.layers
        for copy in layer.copies
        for site in vocabulary.config
        if site.path[: len(layer.path)] == layer.path
        and site.path[len(layer.path)] != "inbound_nodes"
    ]


def _bind_slots(model: ModelFile, vocabulary: Vocabulary) -> None:
    try:
        vocabulary.slots = find_slots(model.root, model.archive, vocabulary.arrays)
    except SlotError as error:
        vocabulary.slot_problem = str(error)
