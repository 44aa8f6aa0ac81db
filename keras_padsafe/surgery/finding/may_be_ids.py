"""Numbers that may name ids, of which nothing in the file tells."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from keras_padsafe.saved_model.config_path import ConfigPath
from keras_padsafe.saved_model.malformed import is_count
from keras_padsafe.saved_model.word_lists import words_in


@dataclass(frozen=True)
class MayBeIds:
    """A number that may name an id, or a list of them: nothing in the file follows it.

    It stands in a class of the user's own, or in a loss or metric of which it is not
    known whether it judges scores of these ids.

    Attributes:
        flag: How a user names it.
        place: Where it stands in config.json.
        entries: Each number, and where it stands.
    """

    flag: str
    place: ConfigPath
    entries: tuple[tuple[ConfigPath, int], ...]

    @property
    def ids(self) -> list[int]:
        """The numbers."""
        return [id_ for _, id_ in self.entries]


def may_be_ids(
    flag: str, place: ConfigPath, value: Any, settled: Callable[[ConfigPath], bool]
) -> MayBeIds | None:
    """What may name ids there, but for what is `settled`; `None` if nothing does."""
    numbers = entries_of(value, place)
    open_ = tuple(one for one in numbers if not settled(one[0]))
    return MayBeIds(flag, place, open_) if open_ else None


def entries_of(value: Any, place: ConfigPath) -> list[tuple[ConfigPath, int]]:
    """The numbers of a list, or of words that each have one, or one by itself.

    None if something else is among them.
    """
    if is_count(value):
        return [(place, value)]
    is_words = isinstance(value, dict) and words_in(value) is not None
    if not (isinstance(value, list) or is_words):
        return []
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    entries = [((*place, key), one) for key, one in pairs]
    return entries if all(is_count(one) for _, one in entries) else []
