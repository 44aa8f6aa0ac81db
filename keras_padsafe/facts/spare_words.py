"""How a list of words names a spare row, an id that no word has yet, and its score.

The list of words in the file says so by itself, and Keras saves it as any other.
"""

import re
from numbers import Integral

_TEXT = re.compile(r"\[spare [0-9]+\]")
_FIRST, _END = -(1 << 31), -(1 << 30)

LOW_SCORE = -(2.0**15)
"""A score that a softmax makes exactly nothing of.

Exact in every float dtype; a softmax can take the largest score from it and stay
finite, in float16 as well.
"""


def spare_word(id_: int, *, integer: bool) -> str | int:
    """The word for the spare row of an id; an integer where words are integers."""
    return _FIRST + id_ if integer else f"[spare {id_}]"


def is_spare(word: str | bytes | int) -> bool:
    """Whether a word stands for a spare row; text may come as TensorFlow has it."""
    if isinstance(word, bytes):
        word = word.decode(errors="replace")
    if isinstance(word, str):
        return _TEXT.fullmatch(word) is not None
    return isinstance(word, Integral) and _FIRST <= word < _END
