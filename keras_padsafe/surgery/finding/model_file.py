"""A saved model as all steps of an inventory see it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from keras_padsafe.archive import Archive, StoredArray
from keras_padsafe.facts.operations import LOOKUPS
from keras_padsafe.saved_model.config_path import ConfigPath, lies_in
from keras_padsafe.saved_model.graph import Graph
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.surgery.finding.asking import Asking
from keras_padsafe.surgery.finding.claims import Also, Claims
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
        return [(node, array) for node in self.layers for array in node.arrays.values()]

    @cached_property
    def claimed(self) -> list[tuple[LayerNode, StoredArray, list[Also]]]:
        """Each array that the user said belongs to a vocabulary, with what was said."""
        return [
            (layer, array, claims)
            for layer, array in self.arrays
            if (claims := self.claims.on(layer, array))
        ]

    @cached_property
    def said(self) -> dict[tuple[str, int], Also]:
        """What the user said of each axis of an array, by path and axis."""
        return {(a.path, c.axis): c for _, a, claims in self.claimed for c in claims}

    @cached_property
    def _left(self) -> set[ConfigPath]:
        return self.claims.left(self.root)

    def leaves_number(self, place: ConfigPath) -> bool:
        """Whether the user said to leave alone a number or list, or what it lies in."""
        return lies_in(place, self._left)

    @cached_property
    def lookup_names(self) -> Counter[str]:
        """How many lookup layers bear each name: one in each of several models can."""
        return Counter(layer.name for layer in self.layers if layer.kind in LOOKUPS)

    @cached_property
    def _by_path(self) -> dict[ConfigPath, LayerNode]:
        return {layer.path: layer for layer in self.layers}

    def around(self, place: ConfigPath) -> Iterator[LayerNode]:
        """The layers whose entries hold a place of config.json, innermost first."""
        for end in range(len(place), -1, -1):
            if place[:end] in self._by_path:
                yield self._by_path[place[:end]]

    def claims_units(self, layer: LayerNode) -> bool:
        """Whether the user said that an axis of a layer is the vocabulary's."""
        return any(self.claims.on(layer, array) for array in layer.arrays.values())

    def without(self, layer: LayerNode) -> tuple[int, ...]:
        """The ids that have no entry in a layer, as the user said."""
        arrays = layer.arrays.values()
        claims = (claim for array in arrays for claim in self.claims.on(layer, array))
        return next((claim.without for claim in claims if claim.without), ())

    def follows(self, draft: Draft, path: str, axis: int) -> bool:
        """Whether an axis of an array was shown to follow what counts a vocabulary."""
        if self.asking is None or not draft.numbers:
            return False
        return self.asking.follows(draft.numbers, path, axis)
