"""Joins config.json and the weights file: which arrays belong to which layer.

Keras stores no table of the kind. It names a group of the weights file by the
walk that found the layer: `layers/<class>_<n>` inside a Sequential or Functional
model, the attribute inside any other layer, the first place met for an object met
twice. This module repeats that walk over config.json alone, and believes a group
only if the layer name written on it, where there is one, agrees.
"""

from typing import Any

from keras_padsafe.archive import COMPANIONS, Archive, StoredArray
from keras_padsafe.errors import SurgeryError
from keras_padsafe.facts.layers import MODULES_OF_NO_LAYERS
from keras_padsafe.saved_model.check_config import check_layer
from keras_padsafe.saved_model.config_path import ConfigPath
from keras_padsafe.saved_model.group_names import join, names_within
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.saved_model.malformed import malformed

_MOST_LAYERS = 100_000


def read_layer_tree(archive: Archive) -> LayerNode:
    """The model of an archive as a tree of `LayerNode`, arrays attached.

    Raises:
        SurgeryError: if the archive holds weights only.
    """
    if archive.config is None:
        raise SurgeryError(
            f"{archive.path}: this file holds weights only, without the config.json "
            "that says what the arrays are. Expected: a `.keras` file or its "
            "unzipped folder. To repair it, build the model in Keras, call "
            "`model.load_weights(...)` and save it with `model.save('model.keras')`."
        )
    if str(archive.config.get("module")).startswith(MODULES_OF_NO_LAYERS):
        raise SurgeryError(
            f"{archive.path}: it holds a {archive.config.get('class_name')}. Expected: "
            "a model as `model.save` writes it."
        )
    if not _is_layer(archive.config) or LayerNode((), archive.config).is_operation:
        expected = "a model as `model.save` writes it"
        raise malformed("Model", (), expected, archive.config)
    root = _read_node(archive.config, (), None, None)
    count = sum(1 for _ in root.walk())
    if count > _MOST_LAYERS:
        raise SurgeryError(
            f"{archive.path}: config.json describes {count} layers. Expected: at most "
            f"{_MOST_LAYERS}. If a person built this model, please report it."
        )
    _find_groups(root, archive)
    _attach_arrays(root, archive)
    return root


def _read_node(
    serialized: dict[str, Any],
    path: ConfigPath,
    parent: LayerNode | None,
    attribute: str | None,
) -> LayerNode:
    node = LayerNode(path, serialized, parent, attribute)
    check_layer(node)
    if node.is_graph:
        for index, entry in enumerate(node.config["layers"]):
            if _is_layer(entry):
                place = (*path, "config", "layers", index)
                node.children.append(_read_node(entry, place, node, None))
    elif not node.is_operation:
        for key, value in node.config.items():
            _read_attribute(value, (*path, "config", key), node, key)
    if parent is None:
        for key in COMPANIONS:
            _read_attribute(serialized.get(key), (key,), node, key)
    return node


def _read_attribute(
    value: Any, path: ConfigPath, node: LayerNode, attribute: str
) -> None:
    """Finds the layers serialized anywhere below one configuration value."""
    if _is_layer(value):
        node.children.append(_read_node(value, path, node, attribute))
    elif isinstance(value, dict):
        for key, inner in value.items():
            _read_attribute(inner, (*path, key), node, f"{attribute}/{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _read_attribute(inner, (*path, index), node, f"{attribute}[]")


def _is_layer(value: Any) -> bool:
    if not (isinstance(value, dict) and isinstance(value.get("class_name"), str)):
        return False
    config = value.get("config")
    module = value.get("module")
    if not isinstance(config, dict) or "module" not in value:
        return False
    if isinstance(module, str) and module.startswith(MODULES_OF_NO_LAYERS):
        return False
    return value["class_name"] not in ("DTypePolicy", "__keras_tensor__", "__tuple__")


def _find_groups(root: LayerNode, archive: Archive) -> None:
    first_with_id: dict[Any, LayerNode] = {}
    owners: dict[str, LayerNode] = {}
    bearing = _Bearing(archive)

    def visit(node: LayerNode, group: str | None) -> None:
        shared = node.serialized.get("shared_object_id")
        if shared is not None:
            first = first_with_id.setdefault(shared, node)
            if first is not node:
                # Keras writes an object at the first place where it meets it.
                _pair(first, node)
                return
        place = _proved_group(node, group, archive, bearing)
        owner = owners.setdefault(place, node) if place else node
        if owner is not node:
            # Keras forgets to mark a layer shared with a nested model.
            if owner.key == node.key:
                _pair(owner, node)
            return
        node.weights_path = place
        for child, name in names_within(node):
            visit(child, None if place is None or name is None else join(place, name))

    visit(root, "")


def _pair(original: LayerNode, copy: LayerNode) -> None:
    if copy.parent is not None and original in copy.parent.outwards():
        place = (*copy.path, "shared_object_id")
        expected = "no id of a layer around it: a layer cannot hold itself"
        received = copy.serialized.get("shared_object_id")
        raise malformed(f"Layer {copy.name!r}", place, expected, received)
    for first, again in zip(original.walk(), copy.walk(), strict=False):
        again.original = first
        first.copies.append(again)


class _Bearing(dict[tuple[str, str], str | None]):
    """The one group below a group that bears a name; `None` if there is not one."""

    def __init__(self, archive: Archive) -> None:
        for path, attributes in archive.groups.items():
            name = attributes.get("name")
            if name is not None and path.endswith("/vars"):
                found = above = path.removesuffix("/vars")
                while above:
                    above = above.rpartition("/")[0]
                    key = (above, name)
                    self[key] = None if key in self else found

    def __missing__(self, key: tuple[str, str]) -> None:
        return None


def _proved_group(
    node: LayerNode, group: str | None, archive: Archive, bearing: _Bearing
) -> str | None:
    """The group of `node`: the one its place predicts, or the one bearing its name."""
    if group is None or node.is_operation:
        return None
    label = archive.groups.get(f"{group}/vars" if group else "vars", {}).get("name")
    if group in archive.groups and label in (None, node.name):
        return group
    if not group:
        return group
    parent = node.parent.weights_path if node.parent else None
    return bearing[parent or "", node.name]


def _attach_arrays(root: LayerNode, archive: Archive) -> None:
    owners = {
        node.weights_path: node for node in root.walk() if node.weights_path is not None
    }
    for array in model_arrays(archive):
        group = array.path
        while group:
            group = group.rpartition("/")[0]
            if group in owners:
                break
        relative = array.path.removeprefix(f"{group}/") if group else array.path
        owners[group].arrays[relative] = array


def model_arrays(archive: Archive) -> list[StoredArray]:
    """Every array of the model itself: all but the optimizer's."""
    return [
        array
        for array in archive.arrays.values()
        if not array.path.startswith("optimizer/")
    ]
