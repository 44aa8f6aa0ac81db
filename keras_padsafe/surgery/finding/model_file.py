"""A saved model as all steps of an inventory see it."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from keras_padsafe.archive import Archive, StoredArray
from keras_padsafe.saved_model.config_path import ConfigPath
from keras_padsafe.saved_model.graph import Call, Graph
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.surgery.finding.asking import Asking
from keras_padsafe.surgery.finding.claims import Claims
from keras_padsafe.surgery.finding.sites import ConfigSite
from keras_padsafe.surgery.finding.tables import Table
from keras_padsafe.surgery.finding.vocabulary import Draft


@dataclass
class ModelFile:
    """A saved model: its layers with their arrays, its calls, the user's claims.

    `asking` is Keras, asked about it; `None` where the file says all.
    """

    archive: Archive
    root: LayerNode
    graph: Graph
    claims: Claims
    asking: Asking | None = None

    @cached_property
    def layers(self) -> list[LayerNode]:
        """Every layer once, however often config.json describes it."""
        return [node for node in self.root.walk() if node.original is None]

    @cached_property
    def arrays(self) -> list[tuple[LayerNode, StoredArray]]:
        """Every array of the model, the optimizer's apart, with its layer."""
        return [
            (layer, array)
            for layer in self.layers
            for array in layer.arrays.values()
            if not array.path.startswith("optimizer/")
        ]

    @cached_property
    def by_path(self) -> dict[ConfigPath, LayerNode]:
        """The layers by their places in config.json."""
        return {layer.path: layer for layer in self.layers}

    @cached_property
    def named(self) -> Counter[str]:
        """How many layers bear each name."""
        return Counter(layer.name for layer in self.layers)


@dataclass
class IdSpace:
    """A vocabulary while it is put together.

    Attributes:
        draft: What was found so far.
        tables: Its tables.
        calls: The calls of its tables.
        logits: The calls that make a unit for each id.
        over_ids: The calls whose last axis runs over the ids.
    """

    draft: Draft
    tables: list[Table]
    calls: list[Call]
    logits: list[Call] = field(default_factory=list)
    over_ids: set[Call] = field(default_factory=set)


def add_config(vocabulary: Draft, sites: Iterable[ConfigSite]) -> None:
    """Adds places of config.json that are not among the vocabulary's yet."""
    known = {site.path for site in vocabulary.config}
    for site in sites:
        if site.path not in known:
            known.add(site.path)
            vocabulary.config.append(site)


def holder_of(place: ConfigPath, model: ModelFile) -> LayerNode:
    """The innermost layer whose description holds a place of config.json."""
    return next(layers_around(place, model))


def layers_around(place: ConfigPath, model: ModelFile) -> Iterator[LayerNode]:
    """The layers whose descriptions hold a place of config.json, innermost first."""
    for end in range(len(place), -1, -1):
        if place[:end] in model.by_path:
            yield model.by_path[place[:end]]


def settling_flags(place: str, axis: int) -> str:
    """What a user says to settle whether an axis belongs to the vocabulary."""
    return (
        f"Add --also {place}:{axis} (also='{place}:{axis}') if it belongs to the "
        f"vocabulary, --leave {place} (leave='{place}') if not"
    )
