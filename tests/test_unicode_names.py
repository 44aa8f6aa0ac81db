"""The names that the demo and the notebooks learn from."""

import itertools
import unicodedata

from keras_padsafe.unicode_names import read_unicode_names


def test_old_and_new_are_what_unicodedata_says() -> None:
    old, new = read_unicode_names()
    assert len(old) > 10_000
    assert len(new) > 10_000
    for names, known in ((old, True), (new, False)):
        for name in names[::97]:
            sign = unicodedata.lookup(name.text)
            assert unicodedata.category(sign)[0] == name.category
            assert (unicodedata.ucd_3_2_0.name(sign, None) is not None) is known


def test_names_are_made_of_words() -> None:
    for name in itertools.chain(*read_unicode_names()):
        words = name.text.split()
        assert 1 <= len(words) <= 16
        assert not any(sign.isdigit() for sign in name.text)
