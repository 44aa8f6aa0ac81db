"""Words in config.json: a list, or the id of each in a dictionary or in pairs."""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

_FEW = 4
_ID = re.compile("0|[1-9][0-9]{0,8}")


class WordList(NamedTuple):
    """Words in the order of their ids, and the id of the first, if that is said."""

    first_id: int | None
    words: tuple[str | int, ...]


def words_in(value: Any) -> WordList | None:
    """The words that a value lists; `None` if it is no such list."""
    pairs = _pairs(value)
    if isinstance(value, list) and not pairs:
        is_plain = {type(word) for word in value} in ({str}, {int})
        are_words = is_plain and len(set(value)) == len(value)
        return WordList(None, tuple(value)) if are_words else None
    ids = [id_ for id_, _ in pairs]
    first = ids[0] if ids else -1
    once = len({word for _, word in pairs}) == len(pairs)
    if not once or first < 0 or ids != list(range(first, first + len(ids))):
        return None
    if len(ids) < _FEW and first > len(ids):
        return None  # Sizes, each by its name.
    return WordList(ids[0], tuple(word for _, word in pairs))


def first_id_in(value: Any, ids: int) -> int | None:
    """The id of the first word of a list whose last word has the last of the ids."""
    listed = words_in(value)
    if listed is None or not isinstance(listed.words[0], str):
        return None
    first = listed.first_id or 0
    return first if first + len(listed.words) == ids else None


def has_entries(value: Any, ids: int) -> bool:
    """Whether a list, or a dictionary with each id, has an entry for each of them."""
    is_by_id = isinstance(value, dict) and value.keys() == {*map(str, range(ids))}
    return is_by_id or (isinstance(value, list) and len(value) == ids)


def entries_at(value: Any, ids: Iterable[int]) -> list[Any]:
    """The entries of some ids in such a list or dictionary."""
    return [value[str(id_) if isinstance(value, dict) else id_] for id_ in ids]


def with_entries(value: Any, entries: list[Any]) -> Any:
    """A value of the same form that has other entries."""
    if isinstance(value, list):
        return entries
    return {str(id_): one for id_, one in enumerate(entries)}


def with_words(value: Any, words: list[Any], first_id: int) -> Any:
    """A value of the same form that lists other words."""
    if isinstance(value, list) and not _pairs(value):
        return words
    numbered = [(first_id + number, word) for number, word in enumerate(words)]
    if isinstance(value, list):
        return [[w, i] for i, w in numbered]
    by_word = all(type(id_) is int for id_ in value.values())
    return {w: i for i, w in numbered} if by_word else {str(i): w for i, w in numbered}


def _pairs(value: Any) -> list[tuple[int, Any]]:
    """Each id with its word, in order."""
    if isinstance(value, list):
        pairs = [one for one in value if isinstance(one, list) and len(one) == 2]
        words = {word for word, id_ in pairs if (type(word), type(id_)) == (str, int)}
        return sorted((i, w) for w, i in pairs) if len(words) == len(value) else []
    if not isinstance(value, dict):
        return []
    if all(type(id_) is int for id_ in value.values()):
        return sorted((id_, word) for word, id_ in value.items())
    if all(_ID.fullmatch(k) and type(word) is str for k, word in value.items()):
        return sorted((int(key), word) for key, word in value.items())
    return []
