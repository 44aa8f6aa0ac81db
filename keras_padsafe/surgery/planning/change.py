"""New ids and the words among them: what a plan carries out."""

from dataclasses import dataclass

from keras_padsafe.surgery.planning.row_map import RowMap


@dataclass(frozen=True)
class Change:
    """New ids and the words among them.

    Attributes:
        row_map: The old id of each new id.
        words: The new words, by the first new ids in order.
        pad: The new id that is to mean padding, if one is.
        old_words: The words of the old ids, where they were given.
        spare_ids: New ids after those of the words that are kept for words to come.
        undoes: Whether it may undo another, whose words at the end go.
        unpads: Whether the padding may go that another brought.
    """

    row_map: RowMap
    words: tuple[str | int, ...] = ()
    pad: int | None = None
    old_words: tuple[str | int, ...] = ()
    spare_ids: tuple[int, ...] = ()
    undoes: bool = False
    unpads: bool = False
