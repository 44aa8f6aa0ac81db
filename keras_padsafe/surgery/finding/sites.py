"""The places of a file that are bound to one vocabulary."""

from dataclasses import dataclass, field
from typing import Any, Literal

from keras_padsafe.archive import StoredArray
from keras_padsafe.saved_model.config_path import ConfigPath, config_key
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.surgery.finding.text_rules import PieceRule, TextRule


@dataclass(frozen=True)
class Quantised:
    """How an array of whole numbers stands for one of real numbers.

    Attributes:
        bits: The bits of a whole number.
        dtype: The data type of the real numbers, which is that of the scales.
        scale: The array of the scales.
        zero: The array of the numbers that stand for 0, if that is not 0.
        block: How many numbers of an id share a scale; 0 if all do.
        packed: The axis along which two numbers share a byte, if one is.
        length: How many numbers lie along it.
        shared: Whether a scale belongs to a number of every id, and not to one id.
    """

    bits: int
    dtype: str
    scale: str
    zero: str | None = None
    block: int = 0
    packed: int | None = None
    length: int = 0
    shared: bool = False

    def shape(self, stored: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the real numbers."""
        if self.packed is None:
            return stored
        return (*stored[: self.packed], self.length, *stored[self.packed + 1 :])


@dataclass(frozen=True)
class ArrayOverIds:
    """An array with one axis that runs over the ids of the vocabulary.

    Attributes:
        path: The array in the weights file.
        shape: Its shape as saved.
        dtype: Keras's name of its data type.
        axis: The axis that runs over the ids.
        role: What it is, as `"embedding table"`.
        fill: How new entries are made: `"rows"` as the user asked, `"bias"` with
            the mean for every choice but zeros, and low for spare rows, `"mean"` with
            it too, `"scale"` or `"zero"` with those of the new rows of `like`, or a
            number.
        reason: Why we believe that the axis is this vocabulary's.
        like: For the moving average of a weight, the weight whose new entries it
            takes over.
        skips: Ids for which the array has no entry, as frozen rows have no slot.
        starts: Where stretches over the ids begin, if the axis runs over other things
            beside them, or over the ids more than once.
        quantised: How its whole numbers stand for real ones, if they do.
    """

    path: str
    shape: tuple[int, ...]
    dtype: str
    axis: int
    role: str
    fill: Literal["rows", "bias", "mean", "scale", "zero"] | float
    reason: str
    like: str | None = None
    skips: tuple[int, ...] = ()
    starts: tuple[int, ...] = ()
    quantised: Quantised | None = None

    @property
    def real_shape(self) -> tuple[int, ...]:
        """Its shape, with the numbers that share a byte told apart."""
        return self.quantised.shape(self.shape) if self.quantised else self.shape


@dataclass(frozen=True)
class ArraySite(ArrayOverIds):
    """An array that is bound to a vocabulary.

    Attributes:
        only_appends: Whether it has fewer entries than there are ids, and the file
            does not say for which ids: new ones can be added at the end, and nothing
            else be done.
        slot_of: For a variable of an optimizer, the weight that it belongs to.
    """

    only_appends: bool = False
    slot_of: str | None = None

    @property
    def size(self) -> int:
        return self.real_shape[self.axis]


def site_of(
    array: StoredArray,
    axis: int,
    reason: str,
    role: str | None = None,
    **more: Any,
) -> ArraySite:
    """The site of an array; if no role is given, a bias, a table or a head's kernel."""
    by_axis = "head kernel" if axis else "embedding table"
    role = role or ("head bias" if len(array.shape) == 1 else by_axis)
    more = {"fill": "bias" if role == "head bias" else "rows", **more}
    path, shape, dtype = array.path, array.shape, array.dtype
    return ArraySite(path, shape, dtype, axis, role, reason=reason, **more)


NO_ENTRY = object()
"""What stands for the entry of a new id in a list where it was not said."""

Follows = Literal[
    "whole",
    "cut",
    "table",
    "record",
    "tokens",
    "cap",
    "id",
    "first",
    "entries",
    "mask_zero",
    "pad_id",
    "mask_token",
]
"""How a number of config.json follows a vocabulary; see `ConfigSite`."""


@dataclass(frozen=True)
class ConfigSite:
    """A number of config.json that follows the vocabulary.

    Attributes:
        path: The keys that lead to it.
        value: The number as saved.
        follows: `"table"` if it counts the ids and so changes by as many as they do,
            `"record"` if it repeats such a count, `"tokens"` if it is the number of
            words, `"cap"` if it must not be less than that, and follows it where it is
            that, `"id"` if it is an id itself, `"first"` if it counts some of the first
            ids, `"entries"` if it lists something of each; `"whole"` if it lists
            tokens that are never cut, as new ones must not be, `"cut"` if only those
            need to be listed that would be; `"mask_zero"`, `"pad_id"` or
            `"mask_token"` if it says which id is padding, or with which word, or that
            none is.
        reason: Why we believe so.
        times: How often a record counts the ids.
        skips: Ids that it does not count.
        default: What stands for it where it is `None`; of `"cut"`, the rule that says
            what would be cut; of `"entries"`, that of a new id.
        lookup: Of `"tokens"` and `"cap"`, the name of the layer whose words it counts.
    """

    path: ConfigPath
    value: Any
    follows: Follows
    reason: str
    times: int = 1
    skips: tuple[int, ...] = ()
    default: Any = None
    lookup: str = ""

    @property
    def is_padding(self) -> bool:
        """Whether it says what padding is."""
        return self.follows in ("mask_zero", "pad_id", "mask_token")


def site_in(
    layer: LayerNode, key: str, follows: Follows, reason: str, **more: Any
) -> ConfigSite:
    """The site of a key of a layer's configuration."""
    place = (*layer.path, "config", key)
    return ConfigSite(place, layer.config.get(key), follows, reason, **more)


@dataclass
class Holding:
    """What one layer holds for each of `size` ids, with the numbers that count them."""

    layer: LayerNode
    size: int
    arrays: list[ArraySite] = field(default_factory=list)
    config: list[ConfigSite] = field(default_factory=list)

    def count(self, path: ConfigPath, reason: str) -> None:
        """Adds a place of config.json that counts the ids."""
        self.config.append(ConfigSite(path, self.size, "table", reason))


@dataclass(frozen=True)
class ListedWords:
    """Where a file lists the words of a lookup layer or tokenizer.

    Attributes:
        layer: Name of the layer, as `tower/lookup` if other lookups bear it too.
        config_path: Where config.json lists the words, if it does.
        assets: The files of the archive that list them, if they do.
        first_id: The id of the first word listed.
        reason: Why we believe that the words are this vocabulary's.
        weights_path: Where config.json lists a weight for each word, if it does.
        weight: What a new word gets there, their mean.
    """

    layer: str
    config_path: ConfigPath | None
    assets: tuple[str, ...]
    first_id: int
    reason: str
    weights_path: ConfigPath | None = None
    weight: float = 0.0

    @property
    def place(self) -> str:
        """The layer, and where its words are listed: it may list several."""
        listed = self.config_path and config_key(self.config_path)
        return f"{self.layer}, {listed or ', '.join(self.assets)}"


@dataclass(frozen=True, kw_only=True)
class WordsSite(ListedWords):
    """The words of a lookup layer or tokenizer, one id each.

    Attributes:
        class_name: Class of the layer.
        words: The words, in the order of their ids.
        specials: The words that mean padding or an unknown word.
        reserved: Those and any other word that the layer takes for itself.
        text_rule: How the layer makes words of text, if that is known.
        is_counted: Whether the rows of a table follow the length of the list.
        unknown_id: The first id that words get which the layer does not know.
        only_appends: Whether words can be added at the end and nothing else be done.
        inserts: Whether words that are listed nowhere follow the last one, as a mask
            token, and move up before a new one.
    """

    class_name: str
    words: tuple[str | int, ...]
    specials: tuple[str | int, ...] = ()
    reserved: frozenset[str | int] = frozenset()
    text_rule: TextRule | PieceRule | None = None
    is_counted: bool = False
    unknown_id: int | None = None
    only_appends: bool = False
    inserts: bool = False

    @property
    def has_integers(self) -> bool:
        """Whether its words are whole numbers."""
        first = next(iter(self.words), "")
        return self.class_name == "IntegerLookup" or type(first) is int

    @property
    def first_real(self) -> int:
        """The id of the first word that means neither padding nor an unknown one."""
        leads = self.words[: len(self.specials)] == self.specials
        return self.first_id + leads * len(self.specials)

    @property
    def end(self) -> int:
        """One more than the last id that a word has."""
        return self.first_id + len(self.words)
