"""A list of words in a configuration whose length the rows of a table follow."""

from typing import Any

from keras_padsafe.saved_model.config_path import ConfigPath
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.surgery.finding.asking import Asking
from keras_padsafe.surgery.finding.sites import WordsSite
from keras_padsafe.surgery.finding.words import listed_site


def counted_list(
    asking: Asking, place: ConfigPath, owner: LayerNode, size: int
) -> WordsSite:
    """The site of a list of words whose length the rows of a table follow."""
    words = tuple(asking.value(place))
    counters = sorted(asking.vary([place]).counters)
    first = size - len(words)
    node = owner
    if counters:
        node = as_node(asking.skeleton.objects[counters[0]], counters[0])
        first = asking.skeleton.counters[counters[0]] - len(words)
    reason = "shown: the rows of the table follow its length"
    site = listed_site(node, place, first, words, reason)
    return site.counted()


def is_numbered(asking: Asking, place: ConfigPath, size: int) -> bool:
    """Whether it is known which ids the words of a counted list have.

    A lookup layer numbers them, or there is a row for each and no other.
    """
    return bool(asking.vary([place]).counters) or len(asking.value(place)) == size


def as_node(layer: Any, group: str) -> LayerNode:
    """A layer that config.json does not spell out, as if it did."""
    from keras_padsafe.skeleton import serialized

    return LayerNode((), serialized(layer), weights_path=group)
