"""Finds the tables that only Keras can show: those that ids index in its skeleton."""

from collections.abc import Mapping
from dataclasses import replace

from keras_padsafe.archive import StoredArray
from keras_padsafe.saved_model.config_path import ConfigPath, config_key
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.saved_model.word_lists import words_in
from keras_padsafe.surgery.finding.asking import Asking
from keras_padsafe.surgery.finding.counting_numbers import Counting, counting_numbers
from keras_padsafe.surgery.finding.doubt import IN_KERAS, Doubt, adding, leaving
from keras_padsafe.surgery.finding.quantised import named_arrays, quantised_sites
from keras_padsafe.surgery.finding.sites import (
    ArraySite,
    ConfigSite,
    WordsSite,
    site_of,
)
from keras_padsafe.surgery.finding.tables import Table
from keras_padsafe.surgery.finding.words import words_site


def shown_tables(
    asking: Asking, arrays: Mapping[str, StoredArray], known: list[Table]
) -> tuple[list[Table], list[Doubt]]:
    """Tables whose rows follow a number, and those of which that cannot be shown.

    Those of known classes that lie in a graph are not looked at again.
    """
    settled = {
        site.path for table in known if _in_graph(table.layer) for site in table.arrays
    }
    by_places: dict[tuple[ConfigPath, ...], Table] = {}
    doubts: list[Doubt] = []
    for path, axis in sorted(
        asking.inside.tables.items(),
        key=lambda item: (-asking.skeleton.shapes[item[0]][item[1]], item[0]),
    ):
        if path in settled:
            continue
        if path in asking.unlike or path not in arrays:
            doubts.append(_unlike(asking, path))
            continue
        counting = counting_numbers(asking, path, axis, far=not (settled or by_places))
        if counting.problem:
            doubts.append(uncounted(asking, path, axis, counting))
            continue
        owner, size = owner_of(asking.root, path), asking.skeleton.shapes[path][axis]
        lists = [p for p in counting.places if words_in(asking.value(p))]
        words = [counted_list(asking, place, owner, size) for place in lists]
        if None in words:
            doubts.append(unnumbered(path, lists[words.index(None)]))
            continue
        other = by_places.get(counting.places)
        if other is None or other.size < size:
            table = _table(asking, path, owner, counting.places, arrays)
            table.words += filter(None, words)
            by_places[counting.places] = table
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
    owner: LayerNode,
    places: tuple[ConfigPath, ...],
    arrays: Mapping[str, StoredArray],
) -> Table:
    keys = ", ".join(config_key(place) for place in places)
    reason = f"shown: ids index it, and its rows follow {keys}"
    axis = asking.inside.tables[path]
    table = Table(owner, asking.skeleton.shapes[path][axis])
    table.name, table.other_names = _names(asking, path, owner, places)
    site = site_of(arrays[path], axis, reason, "embedding table")
    table.arrays += held_sites(asking, arrays, site, table.size)
    for place in places:
        value = asking.value(place)
        if words_in(value) is None:
            shown = f"shown: the rows of {path} follow it"
            table.config.append(ConfigSite(place, value, "table", shown))
    return table


def _names(
    asking: Asking, path: str, owner: LayerNode, places: tuple[ConfigPath, ...]
) -> tuple[str, list[str]]:
    """What people may call a table inside a class, the clearest name first."""
    names = held_names(asking, path)
    group = names[-1] if names else ""
    relative = group.removeprefix(owner.weights_path or "").removeprefix("/")
    own = relative and (asking.inside.names.get(group) or relative)
    named = own if owner.parent is None else f"{owner.name}/{own}"
    keys = [str(place[-1]) for place in places]
    others = [own, relative, *names, *keys, *(f"{owner.name}.{key}" for key in keys)]
    if owner.parent is not None:
        others.append(owner.name)
    return named if own else owner.name, [*filter(None, others)]


def held_names(asking: Asking, path: str) -> list[str]:
    """What people may call the layer that holds an array, its group last."""
    group = path.partition("vars/")[0].removesuffix("/")
    layer = asking.skeleton.objects.get(group)
    names = [asking.inside.names.get(group), getattr(layer, "name", None), group]
    return [name for name in names if name]


def counted_list(
    asking: Asking, place: ConfigPath, owner: LayerNode, size: int
) -> WordsSite | None:
    """The site of a list of words whose length the rows of a table follow.

    `None` if it is not known which ids they have: a lookup layer numbers them, or the
    list, or there is a row for each and no other.
    """
    listed = words_in(asking.value(place))
    assert listed is not None
    first, words = listed
    counters = sorted(asking.vary([place]).counters)[:1]
    for group in counters:
        owner, size = asking.node(group), asking.skeleton.counters[group]
    if first is None and len(words) != size and not counters:
        return None
    before = size - len(words)
    if first is not None and counters and first != before:
        return None  # The list and the lookup number them otherwise.
    first = before if first is None else first
    reason = "shown: the rows of the table follow its length"
    site = words_site(owner, place, first, words, reason)
    return replace(site, is_counted=True)


def held_sites(
    asking: Asking, arrays: Mapping[str, StoredArray], site: ArraySite, size: int
) -> list[ArraySite]:
    """A site and, where its layer is quantised, those of its scales.

    None for scales themselves: they come with the numbers that they belong to.
    """
    group = site.path.partition("vars/")[0].removesuffix("/")
    if not hasattr(asking.skeleton.objects.get(group), "dtype_policy"):
        return [site]
    node = asking.node(group)
    base = f"{group}/" if group else ""
    node.arrays |= {
        path.removeprefix(base): array
        for path, array in arrays.items()
        if path.startswith(f"{base}vars/")
    }
    name = next((n for n, a in named_arrays(node).items() if a.path == site.path), "")
    if name.endswith(("_scale", "_zero")):
        return []
    return [site] if name == "bias" else quantised_sites(node, site, size)


def _unlike(asking: Asking, path: str) -> Doubt:
    return Doubt(
        path,
        f"array {path}, which ids index, has the shape "
        f"{asking.skeleton.shapes[path]} when Keras builds it, and another shape in "
        "the file",
        "Load the model with Keras and save it again",
    )


def unbuilt(asking: Asking, path: str) -> Doubt:
    """An array of the file that Keras makes no place for when it loads the model."""
    return Doubt(
        path,
        f"Keras builds {asking.root.title} without array {path}: `load_model` fails on "
        "the file, or loses its values",
        f"{leaving(path)} if they may be lost. If not, build their layer in `build` of "
        "the class, and save the model again",
    )


def unnumbered(path: str, place: ConfigPath) -> Doubt:
    """An array that follows a list of words of which nothing tells the ids."""
    return Doubt(
        path,
        f"array {path} follows a list of words, {config_key(place)}, and the ids of "
        "these words are not known",
        IN_KERAS,
    )


def uncounted(asking: Asking, path: str, axis: int, counting: Counting) -> Doubt:
    """An array of which it is not known which number counts its entries."""
    place = f"{path}:{axis}"
    remedy = (
        f"{adding(f'{place}:KEY')} with the configuration key that counts its rows, or "
        "give the class one"
    )
    numbers = [one for one in counting.rivals if words_in(asking.value(one)) is None]
    if numbers:
        keys = (asking.flag_key(n, owner_of(asking.root, path)) for n in numbers)
        flags = (f"--also {place}:{key}" for key in keys)
        remedy = f"Add {' or '.join(flags)}, with the one that counts the ids"
    if counting.is_odd or (counting.rivals and not numbers):
        remedy = IN_KERAS
    what = f"array {path} of shape {asking.skeleton.shapes[path]}"
    what += ", which ids index," if path in asking.inside.tables else ""
    return Doubt(path, f"{what} {counting.problem}", remedy)
