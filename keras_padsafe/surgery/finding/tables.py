"""Finds the embedding tables of a model whose class says where each id has a row."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from keras_padsafe.archive import StoredArray
from keras_padsafe.facts.rules import Rule, rule_of
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.saved_model.malformed import is_count
from keras_padsafe.surgery.finding.quantised import (
    is_quantised,
    named_arrays,
    quantised_sites,
)
from keras_padsafe.surgery.finding.sites import (
    ConfigSite,
    Holding,
    WordsSite,
    site_in,
    site_of,
)


@dataclass
class Table(Holding):
    """The embedding tables of one layer.

    Attributes:
        name: What the table is called, if not as `layer`.
        other_names: What else people may call it.
        words: Lists of words whose length the rows follow.
        is_encoding: Whether the layer makes a column for each id instead, so that the
            tables are weights of the layers after it.
        shift: The id of its first column.
        twin: Another lookup layer of the same words for the same text, whose ids enter
            a table.
    """

    name: str | None = None
    other_names: list[str] = field(default_factory=list)
    words: list[WordsSite] = field(default_factory=list)
    is_encoding: bool = False
    shift: int = 0
    twin: LayerNode | None = None

    @property
    def is_inside(self) -> bool:
        """Whether its layer is of the user's own and holds other arrays too."""
        return self.name is not None and not self.layer.holds_one


class StoredTable(NamedTuple):
    """An array of a known class with a row for each id, and the key for them."""

    array: StoredArray
    axis: int
    key: str
    size: Any

    @property
    def contradiction(self) -> str | None:
        """Why the array is no table, if its size is not what the configuration says."""
        array, axis, key = self.array, self.axis, self.key
        if array.shape[axis : axis + 1] == (self.size,):
            return None
        what = f"array {array.path} of shape {array.shape}"
        return f"{what} contradicts {key}={self.size!r:.40}"


def stored_tables(layer: LayerNode) -> Iterator[StoredTable]:
    """The tables of a layer, if its class is known or said by a rule of the user's."""
    rule = rule_of(layer.key)
    if rule is not None:
        size = layer.config.get(rule.size_key)
        for relative, axis in _places(layer, rule).items():
            array = array_below(layer, relative)
            if array is not None:
                yield StoredTable(array, axis, rule.size_key, size)


def known_tables(root: LayerNode) -> list[Table]:
    """Every table whose class is known, or was said by a rule of the user's."""
    layers = (layer for layer in root.walk() if layer.original is None)
    tables = (_known(layer) for layer in layers if rule_of(layer.key))
    return [table for table in tables if table.arrays]


def _known(layer: LayerNode) -> Table:
    table = Table(layer, 0)
    for array, axis, key, size in filter(_fits, stored_tables(layer)):
        reason = f"class {layer.key.replace('>', '.')}, {key}={size}"
        role = "output projection" if axis else "embedding table"
        site = site_of(array, axis, reason, role)
        table.size = size
        table.arrays += quantised_sites(layer, site, size)
        table.config = size_sites(layer, key, reason)
    return table


def _fits(table: StoredTable) -> bool:
    return is_count(table.size) and table.size > 0 and table.contradiction is None


def _places(layer: LayerNode, rule: Rule) -> Mapping[str, int]:
    """Where the tables lie: what comes after the first moves if it is quantised."""
    arrays = named_arrays(layer) if is_quantised(layer) else {}
    if not arrays:
        return rule.arrays
    tables = {"embeddings": 0, "reverse_embeddings": 1}
    return {
        relative: tables[name]
        for name, array in arrays.items()
        for relative, own in layer.arrays.items()
        if name in tables and own.path == array.path
    }


def array_below(layer: LayerNode, relative: str) -> StoredArray | None:
    """An array by its path below the layer, also if a known child owns it."""
    if relative in layer.arrays:
        return layer.arrays[relative]
    for node in layer.walk():
        if node.weights_path is None or layer.weights_path is None:
            continue
        inner = node.weights_path.removeprefix(f"{layer.weights_path}/")
        if relative.startswith(f"{inner}/"):
            found = node.arrays.get(relative.removeprefix(f"{inner}/"))
            if found is not None:
                return found
    return None


def size_sites(layer: LayerNode, key: str, reason: str) -> list[ConfigSite]:
    """The configuration key that holds a table's size, and a nested copy of it."""
    value = layer.config[key]
    sites = [site_in(layer, key, "table", reason)]
    for child in layer.children:
        rule = rule_of(child.key)
        if rule and child.config.get(rule.size_key) == value:
            sites.append(site_in(child, rule.size_key, "table", reason))
    return sites
