"""Words in config.json: a list, or a dictionary of the id of each, or of the word."""

import re
from typing import Any, NamedTuple

_ID = re.compile("0|[1-9][0-9]{0,8}")


class WordList(NamedTuple):
    """Words in the order of their ids, and the id of the first, if that is said."""

    first_id: int | None
    words: tuple[str | int, ...]


def words_in(value: Any) -> WordList | None:
    """The words that a value lists; `None` if it is no such list."""
    if isinstance(value, list):
        is_plain = {type(word) for word in value} in ({str}, {int})
        are_words = is_plain and len(set(value)) == len(value)
        return WordList(None, tuple(value)) if are_words else None
    pairs = _pairs(value) if isinstance(value, dict) else []
    ids = [id_ for id_, _ in pairs]
    if not ids or ids[0] < 0 or ids != list(range(ids[0], ids[0] + len(ids))):
        return None
    return WordList(ids[0], tuple(word for _, word in pairs))


def with_words(value: Any, words: list[Any], first_id: int) -> Any:
    """A value of the same form that lists other words."""
    if isinstance(value, list):
        return words
    by_word = all(type(id_) is int for id_ in value.values())
    numbered = [(first_id + number, word) for number, word in enumerate(words)]
    return {w: i for i, w in numbered} if by_word else {str(i): w for i, w in numbered}


def _pairs(value: dict[str, Any]) -> list[tuple[int, Any]]:
    if all(type(id_) is int for id_ in value.values()):
        return sorted((id_, word) for word, id_ in value.items())
    if all(_ID.fullmatch(k) and type(word) is str for k, word in value.items()):
        return sorted((int(key), word) for key, word in value.items())
    return []
