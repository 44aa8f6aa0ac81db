"""Finds the tables that only Keras can show: those that ids index in its skeleton."""

from collections.abc import Mapping

from keras_padsafe.archive import StoredArray
from keras_padsafe.saved_model.config_path import ConfigPath, config_key
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.surgery.finding.asking import Asking
from keras_padsafe.surgery.finding.counted_list import counted_list
from keras_padsafe.surgery.finding.counting_numbers import counting_numbers
from keras_padsafe.surgery.finding.sites import ConfigSite
from keras_padsafe.surgery.finding.tables import Table, table_site
from keras_padsafe.surgery.finding.vocabulary import Unexplained


def shown_tables(
    asking: Asking, arrays: Mapping[str, StoredArray], known: list[Table]
) -> tuple[list[Table], list[Unexplained]]:
    """Tables whose rows follow a number, and those of which that cannot be shown.

    Args:
        asking: Keras, asked about the model.
        arrays: The arrays of the file by path.
        known: The tables of known classes; those in a graph are not looked at again.
    """
    settled = {
        site.path for table in known if _in_graph(table.layer) for site in table.arrays
    }
    by_places: dict[tuple[ConfigPath, ...], Table] = {}
    doubts: list[Unexplained] = []
    for path in sorted(asking.inside.tables - settled):
        shape = asking.skeleton.shapes[path]
        if path in asking.unlike or path not in arrays:
            doubts.append(_unlike(asking, path))
            continue
        counting = counting_numbers(asking, path, 0)
        if counting.problem:
            doubts.append(_uncounted(path, shape, counting.problem))
            continue
        table = by_places.get(counting.places)
        if table is None or table.size < shape[0]:
            by_places[counting.places] = _table(asking, path, counting.places, arrays)
    return list(by_places.values()), doubts


def owner_of(root: LayerNode, path: str) -> LayerNode:
    """The innermost layer of config.json that an array lies in."""
    owners = [
        node
        for node in root.walk()
        if node.weights_path is not None
        and f"{path}/".startswith(f"{node.weights_path}/" if node.weights_path else "")
    ]
    return max(owners, key=lambda node: len(node.weights_path or ""), default=root)


def _in_graph(layer: LayerNode) -> bool:
    """Whether the layer is spelled out in graphs all the way from the model."""
    return all(node.is_graph for node in list(layer.outwards())[1:])


def _table(
    asking: Asking,
    path: str,
    places: tuple[ConfigPath, ...],
    arrays: Mapping[str, StoredArray],
) -> Table:
    owner = owner_of(asking.root, path)
    within = f"{owner.weights_path}/" if owner.weights_path else ""
    relative = path.removeprefix(within).partition("/vars/")[0]
    is_own = relative.startswith("vars/")
    name = owner.name if is_own else f"{owner.name}/{relative}"
    if owner.parent is None:
        name = owner.name if is_own else relative
    counted = [place for place in places if not isinstance(asking.value(place), list)]
    keys = ", ".join(config_key(place) for place in places)
    reason = f"shown: ids index it, and its rows follow {keys}"
    table = Table(owner, asking.skeleton.shapes[path][0], name)
    table.arrays.append(table_site(arrays[path], 0, reason))
    for place in counted:
        shown = f"shown: the rows of {path} follow it"
        table.config.append(ConfigSite(place, asking.value(place), "table", shown))
    for place in places:
        if place not in counted:
            table.words.append(counted_list(asking, place, owner, table.size))
    return table


def _unlike(asking: Asking, path: str) -> Unexplained:
    return Unexplained(
        path,
        f"array {path}, which ids index, is built by Keras with the shape "
        f"{asking.skeleton.shapes[path]}, and the file has it otherwise",
        "Load the model with Keras and save it again",
    )


def _uncounted(path: str, shape: tuple[int, ...], problem: str) -> Unexplained:
    return Unexplained(
        path,
        f"array {path} of shape {shape}, which ids index, {problem}",
        f"Say --also {path}:0:KEY (also='{path}:0:KEY') with the configuration key "
        "that counts its rows, or give the class one",
    )
