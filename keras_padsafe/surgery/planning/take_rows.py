"""Which new words can be taken in, and which rows they take."""

from collections.abc import Sequence

from keras_padsafe.arguments import Word, read_words
from keras_padsafe.errors import AmbiguousVocabularyError, SurgeryError
from keras_padsafe.facts.operations import LOOKUPS
from keras_padsafe.saved_model.row_map import NEW, RowMap, check_new_size
from keras_padsafe.surgery.finding.vocabulary import Vocabulary
from keras_padsafe.surgery.finding.words import check_new_words
from keras_padsafe.surgery.planning.changes import Change
from keras_padsafe.surgery.planning.reorder import find_ids, named_ids


def refilled(
    vocabulary: Vocabulary,
    tokens: Sequence[Word] | None,
    evict: Sequence[Word],
) -> Change:
    """The change that gives spare rows to `tokens`, and makes those of `evict` spare.

    The table keeps its size, and every other word its id.
    """
    check_words_known(vocabulary, "which words go")
    check_lists(vocabulary)
    given = () if tokens is None else read_words(tokens, "tokens")
    words = read_new_words(given, vocabulary) if given else ()
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


def taken(
    vocabulary: Vocabulary,
    words: tuple[Word, ...],
    *,
    evicted: Sequence[int] = (),
    capacity: int = 0,
    step: int = 1,
) -> Change:
    """The change in which words take rows, and others become spare.

    New words take spare rows and those of evicted words, by their ids; then rows at
    the end that have no word; then rows that the table grows by. All spare rows are
    made anew, so that what training did to them is gone. There are `capacity` of them
    at least, and a multiple of `step` rows.
    """
    size = vocabulary.size
    free = sorted({*vocabulary.spare_ids, *evicted})
    left, beyond = free[len(words) :], max(len(words) - len(free), 0)
    start = vocabulary.words[0].end if vocabulary.words else size
    end = start + beyond + max(capacity - len(left), 0)
    if start < min(end, size):
        _check_without_words(vocabulary, start)
    new_size = round_up(max(end, size), step)
    check_new_size(new_size, size)
    ids = RowMap.append(size, new_size - size).ids.copy()
    ids[free] = NEW
    ids[start:end] = NEW
    spare = (*left, *range(start + beyond, end))
    return Change(RowMap(ids, size), words, spare_ids=spare)


def _check_without_words(vocabulary: Vocabulary, start: int) -> None:
    """Refuses to take rows without a word where other ids may reach them."""
    for name in vocabulary.fed_by[:1]:
        raise AmbiguousVocabularyError(
            f"Vocabulary {vocabulary.name!r}: its rows from id {start} on have no "
            f"word, and input {name!r} gives ids to the table too, so a new word might "
            f"take the row of one. Add --leave {name} (leave='{name}') if it gives "
            f"none from {start} on; or put new words before these rows, at={start} "
            f"(--at {start})."
        )


def check_words_known(vocabulary: Vocabulary, what: str) -> None:
    """Refuses what only the words of the ids could say."""
    if not vocabulary.words:
        raise SurgeryError(
            f"Vocabulary {vocabulary.name!r}: the file holds no words for its ids, "
            f"so it cannot say {what}. Expected: a StringLookup or another lookup "
            "layer, either a layer of the model or an attribute of the class that "
            "holds the table. An input pipeline may use it to look words up."
        )
    for site in vocabulary.words:
        if site.assets and site.class_name not in LOOKUPS:
            raise SurgeryError(
                f"Vocabulary {vocabulary.name!r}: {site.class_name} {site.layer!r} "
                "cuts text by its words, so placeholders for later words would "
                "change its output. Expected: a lookup layer. Grow by the new words "
                "when you have them."
            )


def read_new_words(given: Sequence[Word], vocabulary: Vocabulary) -> tuple[Word, ...]:
    """New words that every lookup layer can take in."""
    tokens = read_words(given, "tokens")
    if not tokens:
        raise SurgeryError("tokens: expected at least one new word; received none.")
    if vocabulary.closed_words:
        raise SurgeryError(
            f"tokens: {vocabulary.closed_words[0]}, so it would never give the "
            "ids of new words. Grow by `rows`, and change its words yourself."
        )
    for site in vocabulary.words or [None]:
        check_new_words(tokens, site)
    check_lists(vocabulary)
    return tokens


def check_lists(vocabulary: Vocabulary) -> None:
    """Refuses lookup layers that would give the next word different ids, or no row."""
    ends = {site.layer: site.end for site in vocabulary.words}
    if len(set(ends.values())) > 1:
        raise SurgeryError(
            f"Vocabulary {vocabulary.name!r}: its lists of words disagree on the next "
            f"free id: {ends}. Expected: layers with the same words. Grow by `rows` "
            "and set the words in Keras."
        )
    if ends and max(ends.values()) > vocabulary.size:
        raise SurgeryError(
            f"Vocabulary {vocabulary.name!r}: lookup layer {next(iter(ends))!r} "
            f"gives ids up to {max(ends.values()) - 1}, and the table has "
            f"{vocabulary.size} rows: the model already fails for its last words. "
            "Grow by `rows` first."
        )


def _evicted(vocabulary: Vocabulary, evict: Sequence[Word]) -> list[int]:
    gone = sorted(set(find_ids(vocabulary, read_words(evict, "evict"), "evict")))
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


def round_up(value: int, step: int) -> int:
    """The next multiple of `step`."""
    return -(-value // step) * step
