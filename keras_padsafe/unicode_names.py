"""A vocabulary that really grew: the names of Unicode's characters, 2002 and today.

Python's `unicodedata` ships both, so that nothing is downloaded. A name is a text of
1 to 15 words, its label the general category of the character.
"""

import sys
import unicodedata
from typing import NamedTuple

OLD_VERSION = unicodedata.ucd_3_2_0.unidata_version
NEW_VERSION = unicodedata.unidata_version


class Name(NamedTuple):
    """The name of a character and the first letter of its general category."""

    text: str
    category: str


def read_unicode_names() -> tuple[list[Name], list[Name]]:
    """The names of Unicode 3.2, and those added since, both in the order of code.

    Left out are names that only number or spell a character: ideographs, Hangul
    syllables, and every name with a digit in it.

    Example:

    >>> from keras_padsafe.unicode_names import read_unicode_names
    >>> old, new = read_unicode_names()
    >>> old[1]
    Name(text='EXCLAMATION MARK', category='P')
    >>> len(new) > len(old)
    True
    """
    old: list[Name] = []
    new: list[Name] = []
    for code in range(sys.maxunicode + 1):
        sign = chr(code)
        text = unicodedata.name(sign, "")
        if _is_words(text):
            known = unicodedata.ucd_3_2_0.name(sign, "") != ""
            (old if known else new).append(Name(text, unicodedata.category(sign)[0]))
    return old, new


def _is_words(text: str) -> bool:
    return (
        text != ""
        and not any(sign.isdigit() for sign in text)
        and "IDEOGRAPH-" not in text
        and not text.startswith("HANGUL SYLLABLE")
    )
