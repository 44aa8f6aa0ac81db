"""The groups of the weights file, by Keras's naming rule, before and after swaps.

Inside a model Keras names a group after the class, with a number where there are
several; so a swap renames its own group, and shifts the numbers of others.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from keras_padsafe.facts.layers import LIVE_NAMES, snake_case
from keras_padsafe.saved_model.layer_node import LayerNode


def class_before(layer: LayerNode) -> str | None:
    """The class whose name Keras used; `None` for an operation, which has no group."""
    if layer.is_operation:
        return None
    if layer.is_stock:
        return LIVE_NAMES.get(layer.class_name, layer.class_name)
    return layer.class_name


def names_within(
    node: LayerNode, class_of: Callable[[LayerNode], str | None] = class_before
) -> Iterator[tuple[LayerNode, str | None]]:
    """The layers that an object holds, in Keras's order, each with its group in it."""
    counts = Counter[str]()
    children = node.children
    if not node.is_graph:
        children = sorted(children, key=lambda child: _walk_order(child.attribute))
    for child in children:
        class_name = class_of(child)
        if class_name is None:
            yield child, None
        elif child.attribute is None or child.attribute.endswith("[]"):
            container = (child.attribute or "layers").removesuffix("[]")
            name = f"{container}/{snake_case(class_name)}"
            yield child, f"{name}_{counts[name]}" if counts[name] else name
            counts[name] += 1
        else:
            yield child, child.attribute


def _walk_order(attribute: str | None) -> str:
    """Keras visits attributes by name, private ones last."""
    name = attribute or ""
    return f"~{name}" if name.startswith("_") else name


def renamed_groups(
    root: LayerNode, new_classes: Mapping[LayerNode, str]
) -> dict[str, str]:
    """The new path of each group of the weights file that moves, by its old one.

    `new_classes` are those that swapped layers will have.
    """
    return dict(_renames(root, "", new_classes))


def named_by_rule(holder: LayerNode) -> bool:
    """Whether the groups of a model's layers bear the names that the rule gives."""
    return holder.weights_path is not None and all(
        name is None or child.weights_path in (None, join(holder.weights_path, name))
        for child, name in names_within(holder)
    )


def _renames(
    node: LayerNode, new_path: str, new_classes: Mapping[LayerNode, str]
) -> Iterator[tuple[str, str]]:
    def after(child: LayerNode) -> str | None:
        swapped = new_classes.get(child.original or child)
        return class_before(child) if swapped is None else swapped

    names = dict(names_within(node, after)) if node.is_graph else {}
    for child in node.children:
        old = child.weights_path
        if old is None or child.original is not None:
            continue
        # What is no entry of a model has a name that no class is part of.
        name = names.get(child) or old.removeprefix(f"{node.weights_path}/")
        moved = join(new_path, name)
        if old != moved:
            yield old, moved
        yield from _renames(child, moved, new_classes)


def join(path: str, name: str) -> str:
    """The path of a group in another; that of the model itself is empty."""
    return f"{path}/{name}" if path else name
