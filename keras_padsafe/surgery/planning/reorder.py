"""The changes that keep, drop or move old ids: trim and remap."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from keras_padsafe.arguments import Word, read_words
from keras_padsafe.errors import SurgeryError
from keras_padsafe.saved_model.row_map import NEW, RowMap
from keras_padsafe.surgery.finding.vocabulary import Vocabulary
from keras_padsafe.surgery.finding.words import check_new_words
from keras_padsafe.surgery.planning.changes import Change
from keras_padsafe.surgery.planning.check_change import fixed_ids


def trimmed(vocabulary: Vocabulary, keep: Sequence[Word]) -> Change:
    """The change that keeps the ids or words of `keep`, in the order of their ids.

    Ids that mean padding or an unknown word are kept without being asked for.
    """
    asked = read_words(keep, "keep")
    if not asked:
        raise SurgeryError("keep: expected at least one word or id; received none.")
    reserved = {word for site in vocabulary.words for word in site.reserved}
    asked = [word for word in asked if word not in reserved]
    if not asked:
        raise SurgeryError(
            "keep: received only words for padding and unknown words, which stay "
            "anyway. Expected: at least one other."
        )
    pads = {id_ for id_ in vocabulary.pad_ids if 0 <= id_ < vocabulary.size}
    wanted = {*named_ids(vocabulary), *pads, *find_ids(vocabulary, asked, "keep")}
    ids = np.array(sorted(wanted), np.int64)
    return Change(RowMap(ids, vocabulary.size))


def named_ids(vocabulary: Vocabulary) -> set[int]:
    """Ids that a layer knows by their number, or by a word of its own."""
    ids = vocabulary.word_ids
    taken = {ids[w] for s in vocabulary.words for w in s.reserved if w in ids}
    return {*fixed_ids(vocabulary), *taken}


def find_ids(vocabulary: Vocabulary, asked: Sequence[Word], argument: str) -> list[int]:
    """The ids of words, and of integers that are no words where words are text."""
    ids, size = vocabulary.word_ids, vocabulary.size
    numbers = 0 if any(site.has_integers for site in vocabulary.words) else size
    missing = [
        item
        for item in asked
        if item not in ids and not (isinstance(item, int) and 0 <= item < numbers)
    ]
    if missing:
        named = ["words of it"] if ids else []
        named += [f"ids from 0 to {size - 1}"] if numbers else []
        raise SurgeryError(
            f"{argument}: {len(missing)} of {len(asked)} are not in vocabulary "
            f"{vocabulary.name!r}, for example {missing[:5]}. Expected: "
            f"{', or '.join(named)}."
        )
    check_one_id(vocabulary, asked, argument)
    return [int(ids.get(item, item)) for item in asked]


def check_one_id(vocabulary: Vocabulary, words: Sequence[Word], argument: str) -> None:
    """Refuses words that lookup layers of one vocabulary give different ids."""
    sites = vocabulary.words if len(vocabulary.words) > 1 else ()
    lists = [
        dict(zip(site.words, range(site.first_id, site.end), strict=True))
        for site in sites
    ]
    for word in words:
        ids = sorted({known[word] for known in lists if word in known})
        if len(ids) > 1:
            raise SurgeryError(
                f"{argument}: the lookup layers of vocabulary {vocabulary.name!r} give "
                f"{word!r} the ids {ids}. Expected: lookup layers with the same words. "
                "Say which ids are meant, or set the words in Keras."
            )


def reworded(
    vocabulary: Vocabulary, old: Sequence[Word], new: Sequence[Word]
) -> Change:
    """The change from one list of words to another, matched word by word."""
    old = read_words(old, "old_vocabulary")
    new = read_words(new, "new_vocabulary")
    first = _unknown_words(vocabulary, old, new)
    _check_lists(vocabulary, old, new, first)
    place = {word: id_ for id_, word in enumerate(old)}
    ids = np.array([place.get(word, NEW) for word in new], np.int64)
    ids[:first] = np.arange(first)
    added = tuple(word for word in new if word not in place)
    for site in vocabulary.words or [None]:
        check_new_words(added, site)
    return Change(RowMap(ids, vocabulary.size), added, old_words=old)


def _unknown_words(
    vocabulary: Vocabulary, old: Sequence[Word], new: Sequence[Word]
) -> int:
    """How many ids at the front have one word for all, as `[UNK]`, in both lists."""
    count = len(fixed_ids(vocabulary))
    is_same = old[:count] == new[:count] and len(new) >= count
    return count if is_same and fixed_ids(vocabulary) == list(range(count)) else 0


def _check_lists(
    vocabulary: Vocabulary, old: Sequence[Word], new: Sequence[Word], first: int
) -> None:
    for name, words in (("old_vocabulary", old), ("new_vocabulary", new)):
        if not words:
            raise SurgeryError(f"{name}: expected a list of words; received none.")
        once = [*dict.fromkeys(words[:first]), *words[first:]]
        doubled = [word for word, count in Counter(once).items() if count > 1][:5]
        if doubled:
            raise SurgeryError(
                f"{name}: some words stand in it more than once, for example "
                f"{doubled}. Expected: each word once, in the order of the ids."
            )
    if len(old) > vocabulary.size:
        raise SurgeryError(
            f"old_vocabulary: received {len(old)} words. Expected: at most "
            f"{vocabulary.size}, the ids of vocabulary {vocabulary.name!r}."
        )
    ends = {vocabulary.size, *(site.end for site in vocabulary.words)}
    if len(old) not in ends:
        raise SurgeryError(
            f"old_vocabulary: received {len(old)} words, and vocabulary "
            f"{vocabulary.name!r} has {vocabulary.size} ids. Expected: a word for "
            "each; for an id without one, any word that no other has."
        )
    known = vocabulary.known_words
    wrong = [word for id_, word in enumerate(old) if known.get(id_, word) != word]
    if wrong:
        raise SurgeryError(
            f"old_vocabulary: {len(wrong)} words have other ids in the file, for "
            f"example {wrong[:5]}. Expected: the words in the order of their ids."
        )
