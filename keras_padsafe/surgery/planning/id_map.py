"""What becomes of each id, as a table for data that was stored with the old ones."""

import csv
import io
from collections.abc import Mapping

import numpy as np

from keras_padsafe.surgery.planning.row_map import NEW, RowMap


def id_map_text(
    row_map: RowMap, tokens: Mapping[str | int, int], old_words: Mapping[int, str | int]
) -> str:
    """A CSV document: `old_id,new_id,word`, one line for each id.

    Args:
        row_map: The old id of each new one.
        tokens: The new words and their ids.
        old_words: The words of old ids, as far as they are known.
    """
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(("old_id", "new_id", "word"))
    new_words = {id_: word for word, id_ in tokens.items()}
    for new, old in enumerate(row_map.ids.tolist()):
        if old == NEW:
            lines.writerow(("", new, new_words.get(new, "")))
        else:
            lines.writerow((old, new, old_words.get(old, "")))
    for old in np.setdiff1d(np.arange(row_map.old_size), row_map.ids).tolist():
        lines.writerow((old, "", old_words.get(old, "")))
    return text.getvalue()
