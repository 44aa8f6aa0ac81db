"""Where new ids go."""

from dataclasses import dataclass

from keras_padsafe.arguments import Word, read_count, read_word
from keras_padsafe.errors import SurgeryError
from keras_padsafe.saved_model.malformed import shortly
from keras_padsafe.surgery.finding.vocabulary import Vocabulary


@dataclass(frozen=True)
class Place:
    """Where new ids go, and whether the new one means padding.

    Attributes:
        at: The id of the first new one; old ids from there on move up.
        before: The word before which they go.
        pad: Whether the one new id means padding.
    """

    at: int | None = None
    before: Word | None = None
    pad: bool = False

    def start(self, vocabulary: Vocabulary) -> int | None:
        """The first new id; `None` where new ids go to the end.

        Raises:
            SurgeryError: if there is no such id or word.
        """
        if self.at is not None and self.before is not None:
            raise SurgeryError(
                "grow: `at` and `before` both say where the new ids go. Expected: one "
                "of them."
            )
        if self.before is not None:
            return self._id_before(vocabulary, read_word(self.before, "before"))
        if self.at is None:
            return None
        at, size = read_count(self.at, "at"), vocabulary.size
        if at > size:
            raise SurgeryError(
                f"at: received {at}. Expected: an id from 0 to {size}, "
                f"the number of ids of vocabulary {vocabulary.name!r}."
            )
        return at

    def _id_before(self, vocabulary: Vocabulary, before: Word) -> int:
        ids = vocabulary.word_ids
        if before not in ids:
            known = f"its words are {', '.join(map(repr, list(ids)[:5]))}, ..."
            raise SurgeryError(
                f"before: {shortly(before)} is no word of vocabulary "
                f"{vocabulary.name!r}: {known if ids else 'the file holds no words'}. "
                "Expected: a word that the model knows; or say the id, as `at`."
            )
        return ids[before]
