"""Finds the embedding tables of a model: where each id has a row."""

import re
from dataclasses import dataclass, field

from keras_padsafe.archive import StoredArray
from keras_padsafe.facts.rules import Rule, rule_of
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.surgery.finding.sites import ArraySite, ConfigSite

# Names by which an embedding inside a layer that config.json does not open up is
# known: the class name, from which Keras makes group and default layer names, or a
# layer name that says what is embedded.
_EMBEDDING = re.compile(
    r"(^|_)((reversible|extendable)_embedding|(token|word)_?(emb|embeddings?)"
    r"|embeddings?)(_\d+)?$"
)
_OTHER_EMBEDDING = re.compile(r"pos|segment|type|time|patch|image|layer|lang")
# Configuration keys that count ids: by a word in them, or as a number of some things.
_COUNTS_IDS = (
    re.compile(r"vocab"),
    re.compile(r"input_dim"),
    re.compile(r"max_(features|tokens|words)"),
    re.compile(r"(token|word|item|user)s?_(size|count)"),
    re.compile(r"(num|n)_\w+s$"),
)
# Numbers of things that no model takes in as ids.
_COUNTS_PARTS = (
    re.compile(r"(num|n)_(heads|layers|blocks|experts|filters|units|groups|steps)"),
    re.compile(r"(num|n)_(classes|labels|positions|segments|types)"),
)


@dataclass
class Table:
    """The embedding tables of one layer, all with a row for each of `size` ids."""

    layer: LayerNode
    size: int
    arrays: list[ArraySite] = field(default_factory=list)
    config: list[ConfigSite] = field(default_factory=list)


def find_tables(root: LayerNode) -> list[Table]:
    """Every table whose class, or whose layer's configuration, proves it one."""
    found: list[Table] = []
    for layer in root.walk():
        if layer.original is None and not layer.is_operation:
            found += _tables_of(layer)
    return found


def _tables_of(layer: LayerNode) -> list[Table]:
    rule = rule_of(layer.key)
    if rule is not None:
        table = _by_rule(layer, rule)
        return [table] if table else []
    if layer.is_stock or layer.is_graph:
        return []
    return _by_names(layer)


def _by_rule(layer: LayerNode, rule: Rule) -> Table | None:
    size = layer.config.get(rule.size_key)
    if not isinstance(size, int) or not _is_count(size):
        return None
    reason = f"class {layer.key.replace('>', '.')}, {rule.size_key}={size}"
    table = Table(layer, size)
    for relative, axis in rule.arrays.items():
        array = array_below(layer, relative)
        if array is not None and axis < len(array.shape) and array.shape[axis] == size:
            table.arrays.append(_site(array, axis, reason))
    table.config += size_sites(layer, rule.size_key, reason)
    return table if table.arrays else None


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


def _by_names(layer: LayerNode) -> list[Table]:
    """Tables inside a layer whose parts config.json does not describe.

    Two proofs are asked for: the array is called an embedding by its group or layer
    name, and a configuration key that speaks of a vocabulary holds its size. Where
    another key holds the same number, the table must also be the only one named after
    tokens or words; else there is no telling, and none is taken.
    """
    found: list[Table] = []
    for key, size in layer.config.items():
        if not counts_ids(key, size):
            continue
        tables = [
            (relative, array)
            for relative, array in layer.arrays.items()
            if relative.endswith("vars/0")
            and len(array.shape) == 2
            and array.shape[0] == size
            and is_embedding_name(relative, array)
        ]
        if list(layer.config.values()).count(size) > 1:
            tables = [table for table in tables if _says_token(*table)]
            tables = tables if len(tables) == 1 else []
        if tables:
            found.append(_named_table(layer, key, size, tables))
    return found


def counts_ids(key: str, value: object) -> bool:
    """Whether a configuration key says that its value is a number of ids."""
    return _is_count(value) and is_size_key(key)


def _named_table(
    layer: LayerNode, key: str, size: int, tables: list[tuple[str, StoredArray]]
) -> Table:
    table = Table(layer, size)
    for relative, array in tables:
        reason = f"{array.layer_name or relative!r} in {layer.key}, {key}={size}"
        table.arrays.append(_site(array, 0, reason))
        reverse = layer.arrays.get(relative.removesuffix("0") + "1")
        if reverse is not None and reverse.shape == array.shape[::-1]:
            table.arrays.append(_site(reverse, 1, reason, "output projection"))
    table.config += size_sites(layer, key, f"{layer.key}, {key}={size}")
    return table


def is_size_key(key: str) -> bool:
    """Whether the name of a configuration key says that it counts ids."""
    return any(pattern.search(key) for pattern in _COUNTS_IDS) and not any(
        pattern.search(key) for pattern in _COUNTS_PARTS
    )


def is_embedding_name(relative: str, array: StoredArray) -> bool:
    """Whether the names on an array say that it is an embedding of ids."""
    names = _names(relative, array)
    return any(_EMBEDDING.search(name) for name in names) and not any(
        _OTHER_EMBEDDING.search(name) for name in names
    )


def _says_token(relative: str, array: StoredArray) -> bool:
    return any(re.search(r"tok|word|vocab", name) for name in _names(relative, array))


def _names(relative: str, array: StoredArray) -> list[str]:
    """The layer's own name and that of its group, without the path above."""
    parts = relative.split("/")
    group = parts[-3] if len(parts) >= 3 else ""
    return [name for name in (array.layer_name, group) if name]


def size_sites(layer: LayerNode, key: str, reason: str) -> list[ConfigSite]:
    """The configuration key that holds a table's size, and a nested copy of it."""
    value = layer.config[key]
    sites = [ConfigSite((*layer.path, "config", key), value, "table", reason)]
    for child in layer.children:
        rule = rule_of(child.key)
        inner = child.config.get(rule.size_key) if rule else None
        if rule and inner == value:
            path = (*child.path, "config", rule.size_key)
            sites.append(ConfigSite(path, value, "table", reason))
    return sites


def _site(
    array: StoredArray, axis: int, reason: str, role: str | None = None
) -> ArraySite:
    role = role or ("embedding table" if axis == 0 else "output projection")
    return ArraySite(array.path, array.shape, array.dtype, axis, role, "rows", reason)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
