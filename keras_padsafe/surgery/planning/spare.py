"""Spare rows: ids kept for words to come, which cost a head nothing until then."""

from collections.abc import Sequence

from keras_padsafe.arguments import Word, read_words
from keras_padsafe.errors import SurgeryError
from keras_padsafe.surgery.finding.vocabulary import Vocabulary
from keras_padsafe.surgery.planning.change import Change
from keras_padsafe.surgery.planning.reorder import find_ids, named_ids
from keras_padsafe.surgery.planning.take_rows import (
    check_lists,
    check_words_known,
    read_new_words,
    taken,
)


def refilled(
    vocabulary: Vocabulary,
    tokens: Sequence[Word] | None,
    evict: Sequence[Word] | None,
) -> Change:
    """The change that gives spare rows to `tokens`, and makes those of `evict` spare.

    The table keeps its size, and every other word its id.

    Raises:
        SurgeryError: if the new words are more than there is room for, or a word
            cannot be evicted.
    """
    check_words_known(vocabulary, "which words go")
    check_lists(vocabulary)
    words = read_new_words(tokens, vocabulary) if tokens else ()
    gone = _evicted(vocabulary, evict)
    if not words and not gone:
        raise SurgeryError(
            "refill: expected words to add, as tokens=[...] (--add WORD), or to evict, "
            "as evict=[...] (--evict WORD); received none."
        )
    end = vocabulary.words[0].end
    room = len({*vocabulary.spare_ids, *gone}) + vocabulary.size - end
    if len(words) > room:
        raise SurgeryError(
            f"refill: received {len(words)} new words, and vocabulary "
            f"{vocabulary.name!r} has room for {room}: {len(vocabulary.spare_ids)} "
            f"spare rows, {vocabulary.size - end} without a word and {len(gone)} to "
            "evict. Expected: fewer words, or more to evict. Or make room first with "
            "grow(capacity=...) (grow --capacity N)."
        )
    return taken(vocabulary, words, evicted=gone)


def _evicted(vocabulary: Vocabulary, evict: Sequence[Word] | None) -> list[int]:
    asked = () if evict is None else read_words(evict, "evict")
    gone = sorted(set(find_ids(vocabulary, asked, "evict")))
    frozen = {id_ for site in vocabulary.slots for id_ in site.skips}
    kept = {*named_ids(vocabulary), *vocabulary.pad_ids, *frozen}
    for id_ in gone:
        if id_ in kept:
            raise SurgeryError(
                f"evict: id {id_} of vocabulary {vocabulary.name!r} means padding or "
                "an unknown word, or its row is frozen. Expected: words that can be "
                "removed."
            )
        _check_has_word(vocabulary, id_)
    return gone


def _check_has_word(vocabulary: Vocabulary, id_: int) -> None:
    """A word goes from every lookup, so each must call its id by it."""
    named = {
        site.layer: site.words[id_ - site.first_id]
        for site in vocabulary.words
        if site.first_id <= id_ < site.end
    }
    if len(set(named.values())) != 1:
        raise SurgeryError(
            f"evict: the lookup layers of vocabulary {vocabulary.name!r} call id "
            f"{id_} by {named or 'no word'}. Expected: one word, which can be "
            "removed."
        )
