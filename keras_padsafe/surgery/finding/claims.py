"""What the user says of arrays that nothing in the file explains."""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice, takewhile
from typing import Any

from keras_padsafe.archive import Archive, StoredArray
from keras_padsafe.arguments import read_texts
from keras_padsafe.errors import SurgeryError
from keras_padsafe.facts.rules import rule_of
from keras_padsafe.saved_model.config_path import ConfigPath, places_of, value_at
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.saved_model.malformed import is_count, shortly
from keras_padsafe.saved_model.word_lists import words_in
from keras_padsafe.surgery.finding.heads import head_of
from keras_padsafe.surgery.finding.sites import NO_ENTRY
from keras_padsafe.surgery.finding.training_objects import training_objects

_AXIS = re.compile("[0-9]{1,3}")
_IDS = re.compile("([0-9]{1,9})(,[0-9]{1,9})*")


@dataclass(frozen=True)
class Also:
    """`LAYER:AXIS[:KEY[:IDS]]`: this axis is the vocabulary's too.

    Attributes:
        text: What was written.
        place: The layer or array.
        axis: Its axis over the ids.
        key: What counts them, if that is said.
        without: Ids for which it has no entry.
    """

    text: str
    place: str
    axis: int
    key: str | None
    without: tuple[int, ...] = ()

    def ids(self, array: StoredArray) -> int:
        """How many ids the vocabulary has, if it is true."""
        return array.shape[self.axis] + len(self.without)


@dataclass(frozen=True)
class AlsoNumber:
    """`NAME::KEY`: this number counts the ids, or this list has an entry for each.

    Attributes:
        text: What was written.
        place: The layer, or the loss or metric.
        key: Its configuration key.
        is_id: Whether it names an id instead, `NAME::KEY:id`.
        entry: The entry of each new id, `NAME::KEY=ENTRY`.
    """

    text: str
    place: str
    key: str
    is_id: bool = False
    entry: Any = NO_ENTRY

    def places(self, root: LayerNode) -> list[tuple[ConfigPath, Any]]:
        """The numbers and lists that it means: of each loss or metric so called.

        Or else of a layer, the nearest one.
        """
        found: list[tuple[ConfigPath, Any]] = []
        for one in training_objects(root):
            own = places_of(self.key, one.config, (*one.path, "config"))
            for place in own if one.name == self.place else ():
                count = value_at(root.serialized, place)
                if is_count(count) or isinstance(count, list | dict):
                    found.append((place, count))
        for layer in () if found else root.walk():
            if self.place in (layer.name, layer.weights_path):
                counts = islice(counts_of(layer, self.key, lists=True), 1)
                found += [(place, count) for _, place, count in counts]
        return found


@dataclass(frozen=True)
class Claims:
    """All that the user said.

    Attributes:
        also: Arrays that belong to the vocabulary.
        numbers: Numbers and lists that do.
        leave: Layers, groups, arrays, numbers or lists that do not.
    """

    also: tuple[Also, ...] = ()
    numbers: tuple[AlsoNumber, ...] = ()
    leave: tuple[str, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """What was written of what belongs to the vocabulary."""
        return tuple(claim.text for claim in (*self.also, *self.numbers))

    def leaves(self, layer: LayerNode, path: str = "") -> bool:
        """Whether the user said to leave alone this layer, or this array of it.

        What a layer that is left alone holds is left alone as well, but for tables: to
        leave one, name it. The name of the whole model leaves nothing.
        """
        around = (n for n in layer.outwards() if n is layer or n.parent is not None)
        return any(self.leaves_table(node, path) for node in around)

    def left(self, root: LayerNode) -> set[ConfigPath]:
        """The numbers and lists of config.json that the user said to leave alone."""
        said = filter(None, map(_read_left, self.leave))
        return {place for one in said for place, _ in one.places(root)}

    def leaves_table(
        self, layer: LayerNode, path: str, *, is_inside: bool = False
    ) -> bool:
        """Whether the user said to leave alone this table.

        To leave one that is inside a layer, it is not enough to name the layer.
        """
        own = (layer.name, layer.weights_path) if is_inside else ()
        places = (place for place in self.leave if place not in own)
        return any(_names(place, layer, path) for place in places)

    def settles(self, layer: LayerNode) -> bool:
        """Whether the user said all that has to be known of this layer."""
        return self.leaves(layer) or any(
            claim.key is not None
            for array in layer.arrays.values()
            for claim in self.on(layer, array)
        )

    def uncounted(self, root: LayerNode) -> list[LayerNode]:
        """Layers of Keras with a claimed axis that no number of theirs counts."""
        return [
            layer
            for layer in root.walk()
            if layer.is_stock and head_of(layer) is None and rule_of(layer.key) is None
            if any(self.on(layer, array) for array in layer.arrays.values())
        ]

    def on(self, layer: LayerNode, array: StoredArray) -> list[Also]:
        """What the user said of an array of `layer`, where its shape has that axis."""
        return [
            claim
            for claim in self.also
            if claim.axis < len(array.shape)
            and _names_within(claim.place, layer, array.path)
        ]


def read_claims(also: Iterable[str], leave: Iterable[str]) -> Claims:
    """Parses what came from `also=` and `leave=`, or from the command line.

    Raises:
        SurgeryError: if a claim is of neither form.
    """
    said = [_read_also(text) for text in read_texts(also, "also")]
    return Claims(
        tuple(claim for claim in said if isinstance(claim, Also)),
        tuple(claim for claim in said if isinstance(claim, AlsoNumber)),
        read_texts(leave, "leave"),
    )


def renamed_claim(text: str, new_id: Callable[[int], int | None]) -> str:
    """A claim for a file in which ids have other numbers, or none."""
    claim = _read_also(text)
    if isinstance(claim, AlsoNumber) or not claim.without:
        return text
    new = sorted(id_ for id_ in map(new_id, claim.without) if id_ is not None)
    ids = ",".join(map(str, new))
    return ":".join([claim.place, str(claim.axis), claim.key or "", ids]).rstrip(":")


def check_claims(claims: Claims, root: LayerNode, archive: Archive) -> None:
    """Refuses a claim on a layer, an array or a number that the model does not have."""
    trained = {one.name for one in training_objects(root)}
    numbers = [("also", number) for number in claims.numbers]
    numbers += [("leave", one) for text in claims.leave if (one := _read_left(text))]
    said = [("also", claim.place) for claim in claims.also]
    said += [(argument, number.place) for argument, number in numbers]
    said += [("leave", place) for place in claims.leave if not _read_left(place)]
    for argument, place in said:
        named = place in trained or _named_arrays(place, root)
        if not named and all(layer.name != place for layer in root.walk()):
            names = sorted({name for node in root.walk() for name in _holders(node)})
            raise SurgeryError(
                f"{archive.path}: {argument}: no layer or array is called "
                f"{shortly(place)}. Expected: the name of a layer, or a path of the "
                f"weights file. Layers with arrays: {', '.join(names)}."
            )
    places = {one.text: f"{one.place}::{one.key}" for one in claims.numbers}
    for text, place in (places | {one.text: one.place for one in claims.also}).items():
        if place in claims.leave:
            raise SurgeryError(
                f"{archive.path}: {place!r} is in leave, and in also as {text!r}. "
                "Expected: in one of them."
            )
    for claim in claims.also:
        _check_also(claim, _named_arrays(claim.place, root), archive)
    for argument, number in numbers:
        if not number.places(root):
            raise SurgeryError(
                f"{archive.path}: {argument}: {number.text!r}: no configuration key "
                f"{number.key!r} of {number.place!r} counts anything. Expected: the "
                "key of a number or a list."
            )


def _holders(layer: LayerNode) -> Iterator[str]:
    """A layer with arrays, and what holds them in it: by their attributes."""
    groups = (name.rpartition("vars/")[0].rstrip("/") for name in layer.arrays)
    yield from (group or layer.name for group in groups)


def _named_arrays(place: str, root: LayerNode) -> list[tuple[LayerNode, StoredArray]]:
    return [
        (layer, array)
        for layer in root.walk()
        for array in layer.arrays.values()
        if _names_within(place, layer, array.path)
    ]


def _check_also(
    claim: Also, named: list[tuple[LayerNode, StoredArray]], archive: Archive
) -> None:
    """Refuses an axis that no array of the place has, and a key that holds no size."""
    fitting = [pair for pair in named if claim.axis < len(pair[1].shape)]
    if not fitting:
        shapes = ", ".join(f"{array.path} {array.shape}" for _, array in named)
        raise SurgeryError(
            f"{archive.path}: also: {claim.text!r}: no array of {claim.place!r} has an "
            f"axis {claim.axis}. Expected: an axis of its arrays, or of one of a layer "
            f"in it, by its path. Its arrays: {shapes or 'none'}."
        )
    counts = [
        count
        for layer, array in fitting
        for node, _, count in counts_of(layer, claim.key or "")
        if not node.is_stock or count == array.shape[claim.axis]
    ]
    if claim.key is not None and not counts:
        wanted = sorted({array.shape[claim.axis] for _, array in fitting})
        raise SurgeryError(
            f"{archive.path}: also: {claim.text!r}: no configuration key {claim.key!r} "
            f"of {claim.place!r} counts entries, or holds "
            f"{' or '.join(map(str, wanted))}, the size of the axis. Expected: the key "
            "that does, or none."
        )


def counts_of(
    layer: LayerNode, key: str, *, lists: bool = False
) -> Iterator[tuple[LayerNode, ConfigPath, Any]]:
    """What a key counts: in a layer, in what it lies in, or anywhere in config.json.

    A number beside words in a list counts nothing by itself; `lists` are asked for.
    """
    around = list(layer.outwards())
    whole = around[-1].serialized
    within = [((*node.path, "config"), node.config) for node in around]
    found = (places_of(key, value, path) for path, value in [*within, ((), whole)])
    for place in chain.from_iterable(found):
        count = value_at(whole, place)
        around_it = (words_in(value_at(whole, place[:n])) for n in range(len(place)))
        is_of_words = any(one and isinstance(one.words[0], str) for one in around_it)
        is_list = lists and isinstance(count, list | dict)
        if is_list or (is_count(count) and not is_of_words):
            inside = (n for n in around if place[: len(n.path)] == n.path)
            yield next(inside), place, count


def _read_also(text: str) -> Also | AlsoNumber:
    if number := _read_number(text):
        return number
    place, _, rest = text.partition(":")
    axis, _, rest = rest.partition(":")
    key, colon, ids = rest.partition(":")
    if not place or not _AXIS.fullmatch(axis) or (colon and not _IDS.fullmatch(ids)):
        raise SurgeryError(
            f"also: {text!r} is not understood. Expected: LAYER:AXIS, as "
            "'token_table:0', or LAYER:AXIS:KEY with the configuration key that "
            "holds the size, as 'token_table:0:vocab_size'; and after one more colon "
            "the ids that have no entry there, as 'scores:1::0'. Of what has no array, "
            "NAME::KEY, as 'masker::vocab_size', NAME::KEY:id, as 'stop::word:id', or "
            "NAME::KEY=ENTRY, as 'prior::weights=0.5'."
        )
    without = tuple(sorted({int(id_) for id_ in ids.split(",") if id_}))
    return Also(text, place, int(axis), key or None, without)


def _read_number(text: str) -> AlsoNumber | None:
    text_of, equals, entry = text.partition("=")
    place, _, rest = text_of.partition("::")
    key, colon, what = rest.partition(":")
    is_one = place and key and ":" not in place and what == ("id" if colon else "")
    if not is_one or (colon and equals):
        return None
    value = _read_entry(entry) if equals else NO_ENTRY
    return AlsoNumber(text, place, key, bool(colon), value)


def _read_left(text: str) -> AlsoNumber | None:
    """A number or list that is left alone; what it holds does not matter."""
    place, _, key = text.partition("::")
    is_one = place and key and ":" not in place
    return AlsoNumber(text, place, key) if is_one else None


def _read_entry(text: str) -> Any:
    """An entry of a list as JSON writes it, or a word without quotation marks."""
    try:
        return json.loads(text, parse_constant=str)
    except (ValueError, RecursionError):
        return text


def _names(place: str, layer: LayerNode, path: str) -> bool:
    """Whether `place` is the name or group of a layer, or a path that leads to it."""
    if place in (layer.name, layer.weights_path):
        return True
    inside = path.removeprefix(f"{layer.weights_path}/") if layer.weights_path else path
    named = f"{layer.name}/{inside}" if inside else layer.name
    return any(f"{whole}/".startswith(f"{place}/") for whole in (path, inside, named))


def _names_within(place: str, layer: LayerNode, path: str) -> bool:
    """Whether it names a layer so, or what holds the layer and is no model."""
    holders = list(layer.outwards())[1:-1]
    plain = takewhile(lambda node: not node.is_graph, holders)
    return any(_names(place, node, path) for node in (layer, *plain))
