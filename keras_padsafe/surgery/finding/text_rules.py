"""How layers make words of text, which says what words no text gives."""

import string
import unicodedata
from dataclasses import dataclass

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
# TensorFlow lowers the letters of ASCII only, and so leaves others as they are.
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


@dataclass(frozen=True)
class TextRule:
    """How a TextVectorization makes words of text, in its own configuration's words.

    Attributes:
        standardize: What is done to the text first.
        split: Where it is cut; `None` leaves it whole.
        has_ngrams: Whether several words in a row make a word too.
    """

    standardize: str | None
    split: str | None
    has_ngrams: bool

    def why_lost(self, word: str) -> str | None:
        """Why no text gives a word, if so."""
        made, standardize = word, self.standardize or ""
        if "lower" in standardize:
            made = made.translate(_LOWER)
        if "strip_punctuation" in standardize:
            made = made.translate(_NO_PUNCTUATION)
        if made != word:
            return f"becomes {made!r} by standardize={standardize!r}"
        if self.has_ngrams:
            return None
        if self.split == "whitespace" and any(s in string.whitespace for s in word):
            return "is cut in two by split='whitespace'"
        if self.split == "character" and len(word) > 1:
            return "is cut into letters by split='character'"
        return None


@dataclass(frozen=True)
class PieceRule:
    """How a WordPiece tokenizer makes words of text, before it cuts them into pieces.

    Attributes:
        lowers: Whether it makes them lower case.
        splits: Whether it cuts text at punctuation.
        suffix: What marks a piece inside a word.
    """

    lowers: bool
    splits: bool
    suffix: str

    def why_lost(self, word: str) -> str | None:
        """Why no text gives a word, if so."""
        text = word.removeprefix(self.suffix)
        if self.splits and len(text) > 1 and not all(map(_is_letter, text)):
            return "is cut, as all text is at spaces and punctuation"
        if self.lowers and text.casefold() != text:
            return f"becomes {text.casefold()!r}, as all text does"
        return None


def _is_letter(sign: str) -> bool:
    if sign.isascii():
        return sign.isalnum()
    return unicodedata.category(sign)[0] not in "PZC"
