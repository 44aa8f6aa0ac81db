"""One id space of a model and all that is bound to it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from typing import Any

from keras_padsafe.facts.spare_words import is_spare
from keras_padsafe.saved_model.config_path import ConfigPath, config_key
from keras_padsafe.saved_model.graph import Call
from keras_padsafe.surgery.finding.doubt import Doubt, near
from keras_padsafe.surgery.finding.may_be_ids import MayBeIds
from keras_padsafe.surgery.finding.sites import ArraySite, ConfigSite, WordsSite
from keras_padsafe.surgery.finding.tables import Table

SAVED_AGAIN = "saved again"
"""The role of an array that a file holds under a second path."""
LOOKED_UP = (
    "embedding table",
    "encoding kernel",
    "scales",
    "word weights",
    SAVED_AGAIN,
)
"""The roles of arrays that have an entry for each id that comes in."""


@dataclass(frozen=True)
class LeftAlone:
    """An array that has an axis of the vocabulary's size and is not bound to it."""

    path: str
    shape: tuple[int, ...]
    reason: str


def counting(
    config: Iterable[ConfigSite], words: Iterable[WordsSite]
) -> list[ConfigPath]:
    """The places that count ids, of what is bound to them."""
    counted = [site.path for site in config if site.follows in ("table", "entries")]
    listed = [site.config_path for site in words if site.is_counted]
    return [*counted, *(path for path in listed if path is not None)]


@dataclass(eq=False)
class Draft:
    """A vocabulary while it is put together; see `Vocabulary` for the other fields.

    Attributes:
        tables: Its tables.
        calls: The calls of its tables.
        logits: The calls that make a unit for each id.
        over_ids: The calls whose last axis runs over the ids.
    """

    name: str
    size: int
    tables: list[Table]
    calls: list[Call]
    logits: list[Call] = field(default_factory=list)
    over_ids: list[Call] = field(default_factory=list)
    layers: list[str] = field(default_factory=list)
    arrays: list[ArraySite] = field(default_factory=list)
    slots: list[ArraySite] = field(default_factory=list)
    slot_problem: str | None = None
    config: list[ConfigSite] = field(default_factory=list)
    initializers: list[ConfigPath] = field(default_factory=list)
    pad_ids: list[int] = field(default_factory=list)
    masks_zero: bool = False
    is_main: bool = False
    is_made_inside: bool = False
    words: list[WordsSite] = field(default_factory=list)
    closed_words: list[str] = field(default_factory=list)
    fed_by: list[str] = field(default_factory=list)
    read_by: list[str] = field(default_factory=list)
    maskless: list[str] = field(default_factory=list)
    no_spare: list[str] = field(default_factory=list)
    encoders: list[str] = field(default_factory=list)
    unexplained: list[Doubt] = field(default_factory=list)
    left_alone: list[LeftAlone] = field(default_factory=list)
    may_be_ids: list[MayBeIds] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def numbers(self) -> list[ConfigPath]:
        """As of a `Vocabulary`."""
        return counting(self.config, self.words)

    @property
    def counted(self) -> list[int]:
        """The numbers that count its rows, or some of them."""
        return [site.value for site in self.config if site.follows == "table"]

    @property
    def near_sizes(self) -> list[int]:
        """Numbers that may count its ids."""
        return list(dict.fromkeys([*near(self.size), *self.counted]))

    def finish(self) -> "Vocabulary":
        """The vocabulary, complete; what several calls of a layer say is said once."""
        own = {one.name: getattr(self, one.name) for one in fields(Vocabulary)}
        frozen: dict[str, Any] = {
            name: tuple(dict.fromkeys(value)) if isinstance(value, list) else value
            for name, value in own.items()
            if name != "config"
        }
        return Vocabulary(config=tuple(self.config), **frozen)

    def add_config(self, sites: Iterable[ConfigSite]) -> None:
        """Adds places of config.json that are not among its own yet."""
        known = {site.path for site in self.config}
        for site in sites:
            if site.path not in known:
                known.add(site.path)
                self.config.append(site)


Reached = Callable[[Call], list[Draft]]
"""The vocabularies of which a call takes values."""


@dataclass(frozen=True)
class Vocabulary:
    """One id space: what is bound to it, and why we believe so.

    Attributes:
        name: Name of the layer that holds its first table.
        size: The number of ids: the rows of its tables.
        layers: Names of all layers bound to it; each can be used to call it.
        arrays: Arrays of the model with an axis over the ids.
        slots: Variables of the optimizer with an axis over the ids.
        slot_problem: Why the slots could not be told apart, if so.
        config: Numbers of config.json that follow the size, shapes among them.
        initializers: Places of config.json where an initializer holds a whole table.
        pad_ids: Ids that a table knows as padding.
        masks_zero: Whether one of them is 0 because of `mask_zero`.
        is_main: Whether its number is the one by which a package counts the ids of
            text; it is meant where no vocabulary is named.
        is_made_inside: Whether the model makes its ids itself, as positions, so that
            it is not meant where no vocabulary is named.
        words: Lookup layers and tokenizers that name the ids.
        closed_words: Tokenizers and lookups that cannot take a word in, and why not.
        fed_by: Inputs that give ids to its tables beside lookups that do.
        read_by: Layers and operations that read the ids themselves, as numbers: only
            a proof shows that they do not mind new ones, or other numbers for old ones.
        maskless: Tables of which no configuration can be told what is padding, such as
            those inside classes of the user's own.
        no_spare: Why a spare row of it could take probability, for each head that
            gives no promise.
        encoders: Layers that make a column of each id, by their groups of the weights
            file; operations by their names.
        unexplained: What has to be settled by the user before a change.
        left_alone: Arrays that only happen to have an axis of that size.
        may_be_ids: Numbers that may name ids, and stay.
        notes: Anything else that a user should know before a change.
    """

    name: str
    size: int
    layers: tuple[str, ...]
    arrays: tuple[ArraySite, ...]
    slots: tuple[ArraySite, ...]
    slot_problem: str | None
    config: tuple[ConfigSite, ...]
    initializers: tuple[ConfigPath, ...]
    pad_ids: tuple[int, ...]
    masks_zero: bool
    is_main: bool
    is_made_inside: bool
    words: tuple[WordsSite, ...]
    closed_words: tuple[str, ...]
    fed_by: tuple[str, ...]
    read_by: tuple[str, ...]
    maskless: tuple[str, ...]
    no_spare: tuple[str, ...]
    encoders: tuple[str, ...]
    unexplained: tuple[Doubt, ...]
    left_alone: tuple[LeftAlone, ...]
    may_be_ids: tuple[MayBeIds, ...]
    notes: tuple[str, ...]

    @property
    def numbers(self) -> list[ConfigPath]:
        """The places of config.json that count its ids; lists may, by their length."""
        return counting(self.config, self.words)

    @property
    def has_head(self) -> bool:
        """Whether the model scores each id, so that new ids take probability."""
        return any(site.role not in LOOKED_UP for site in self.arrays)

    @property
    def spare_ids(self) -> tuple[int, ...]:
        """Ids of rows that are kept for words to come."""
        ids = self.word_ids.items()
        return tuple(sorted(id_ for word, id_ in ids if is_spare(word)))

    @property
    def word_ids(self) -> dict[str | int, int]:
        """The id of each word that a lookup layer of the file knows."""
        ids: dict[str | int, int] = {}
        for site in self.words:
            for number, word in enumerate(site.words):
                ids.setdefault(word, site.first_id + number)
        return ids

    @property
    def known_words(self) -> dict[int, str | int]:
        """The word of each id that has one."""
        return {id_: word for word, id_ in self.word_ids.items()}

    def to_json(self) -> dict[str, Any]:
        """The vocabulary as plain data, the document behind the table."""
        return {
            "name": self.name,
            "size": self.size,
            "layers": list(self.layers),
            "arrays": [_array(site) for site in self.arrays],
            "optimizer_slots": [_array(site) for site in self.slots],
            "optimizer_problem": self.slot_problem,
            "config": [
                {
                    "key": config_key(site.path),
                    "value": site.value,
                    "reason": site.reason,
                }
                for site in self.config
                if not site.is_padding
            ],
            "initializers": [config_key(path) for path in self.initializers],
            "pad_ids": list(self.pad_ids),
            "spare_ids": list(self.spare_ids),
            "words": [
                {
                    "layer": site.layer,
                    "class": site.class_name,
                    "count": len(site.words),
                    "first_id": site.first_id,
                    "stored_in": list(site.assets) or "config.json",
                    "reason": site.reason,
                }
                for site in self.words
            ],
            "unexplained": [item.to_json() for item in self.unexplained],
            "left_alone": [
                {"path": item.path, "shape": list(item.shape), "reason": item.reason}
                for item in self.left_alone
            ],
            "notes": list(self.notes),
        }


def _array(site: ArraySite) -> dict[str, Any]:
    return {
        "path": site.path,
        "shape": list(site.shape),
        "dtype": site.dtype,
        "axis": site.axis,
        "role": site.role,
        "reason": site.reason,
    }
