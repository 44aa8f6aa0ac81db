"""Which rows new words take: the spare ones first, then those at the end."""

from collections.abc import Sequence

from keras_padsafe.arguments import Word
from keras_padsafe.errors import SurgeryError
from keras_padsafe.facts.operations import LOOKUPS
from keras_padsafe.surgery.finding.vocabulary import Vocabulary
from keras_padsafe.surgery.planning.change import Change
from keras_padsafe.surgery.planning.row_map import NEW, RowMap, check_new_size


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
    made anew, so that what training did to them is gone.

    Args:
        vocabulary: The vocabulary.
        words: The new words.
        evicted: Ids whose words go.
        capacity: How many spare rows there are to be at least.
        step: Round the number of rows up to a multiple of this.
    """
    size = vocabulary.size
    free = sorted({*vocabulary.spare_ids, *evicted})
    left, beyond = free[len(words) :], max(len(words) - len(free), 0)
    start = vocabulary.words[0].end if vocabulary.words else size
    end = start + beyond + max(capacity - len(left), 0)
    new_size = -(-max(end, size) // step) * step
    check_new_size(new_size, size)
    ids = RowMap.append(size, new_size - size).ids.copy()
    ids[free] = NEW
    ids[start:end] = NEW
    spare = (*left, *range(start + beyond, end))
    return Change(RowMap(ids, size), words, spare_ids=spare)


def check_words_known(vocabulary: Vocabulary, what: str) -> None:
    """Refuses what only the words of the ids could say.

    Raises:
        SurgeryError: saying where the words can lie.
    """
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
