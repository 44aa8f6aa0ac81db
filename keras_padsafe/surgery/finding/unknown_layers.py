"""The layers of a file of which only Keras can tell what they hold."""

from keras_padsafe.facts.packages import IMPORTED_UNASKED
from keras_padsafe.facts.rules import rule_of
from keras_padsafe.saved_model.config_path import walk_values
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.saved_model.word_lists import words_in

OUR_PACKAGE = "keras_padsafe>"


def unknown_layers(root: LayerNode) -> list[LayerNode]:
    """Layers of classes that are not known here and hold what may count ids.

    A class without weights, numbers and lists in its configuration holds nothing
    that could follow a vocabulary.
    """
    return [
        node
        for node in root.walk()
        if node.original is None and not _is_known(node) and _holds_something(node)
    ]


def own_classes(root: LayerNode) -> list[str]:
    """The classes that Keras knows only once a module of the user's is imported."""
    return sorted({node.key for node in root.walk() if is_own_class(node)})


def is_own_class(node: LayerNode) -> bool:
    """Whether the class is the user's own."""
    is_foreign = not node.is_stock and not node.is_operation
    is_ours = node.key.startswith(OUR_PACKAGE)
    return is_foreign and not is_ours and not is_imported_unasked(node)


def is_imported_unasked(node: LayerNode) -> bool:
    """Whether the class belongs to a package that is imported without being asked."""
    return not node.packages.isdisjoint(IMPORTED_UNASKED)


def _is_known(node: LayerNode) -> bool:
    if node.is_stock:
        # A wrapper with weights of its own, as SpectralNormalization, has them of the
        # shapes of those in it.
        return not (node.children and node.arrays)
    if node.is_operation or node.key.startswith(OUR_PACKAGE):
        return True
    # A rule says what a class of the user's own holds.
    return rule_of(node.key) is not None and not is_imported_unasked(node)


def _holds_something(node: LayerNode) -> bool:
    own = {key: node.config[key] for key in node.config.keys() - _COUNT_NOTHING}
    return bool(node.arrays) or any(
        type(value) is int or (isinstance(value, list) and value) or words_in(value)
        for _, value in walk_values(own)
    )


# What every layer has in its configuration.
_COUNT_NOTHING = {"name", "trainable", "dtype"}
