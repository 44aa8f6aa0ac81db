"""What there is to say of the tables of one vocabulary."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_padsafe.archive import Archive, StoredArray, decode
from keras_padsafe.audit.finding import Finding
from keras_padsafe.audit.stored.stored_values import FLOATS, chance_makes_equal_rows
from keras_padsafe.audit.stored.table_rows import equal_rows, slots_of, untrained_rows
from keras_padsafe.surgery.finding.sites import ArraySite
from keras_padsafe.surgery.finding.vocabulary import Vocabulary

_SHOWN = 8


def table_findings(
    archive: Archive, vocabulary: Vocabulary, inverse: set[str], not_checked: list[str]
) -> Iterator[Finding]:
    """The findings of one vocabulary.

    Args:
        archive: The open file.
        vocabulary: What `inspect` found of it.
        inverse: Names of the lookup layers that turn ids into words.
        not_checked: What could not be looked at is added to it.
    """
    tables = [site for site in vocabulary.arrays if _is_table(site)]
    if vocabulary.slot_problem and tables:
        problem, _, _ = vocabulary.slot_problem.partition(". Expected:")
        not_checked.append(f"rows never trained: {problem}")
    if tables:
        yield from _ids_past_the_end(vocabulary, inverse, tables[0].path)
    for site in tables:
        if site.dtype not in FLOATS:
            not_checked.append(
                f"the rows of {site.path}: it is quantized ({site.dtype})"
            )
            continue
        array = archive.arrays[site.path]
        slots = slots_of(site.path, vocabulary.slots)
        untrained = untrained_rows(site.size, slots, archive.arrays)
        pads = [pad for pad in vocabulary.pad_ids if 0 <= pad < site.size]
        padding = np.isin(np.arange(site.size), pads)
        yield from _never_trained(array, vocabulary, untrained & ~padding)
        if chance_makes_equal_rows(array):
            not_checked.append(
                f"equal rows of {site.path}: with {site.size} rows of "
                f"{site.shape[1]} values in {site.dtype}, some are equal by chance"
            )
        else:
            yield from _equal(array, vocabulary, untrained | padding)
        trained = bool(slots) and bool((~untrained).any() and untrained.any())
        yield from _pad_rows(array, [p for p in pads if trained and not untrained[p]])
    if tables:
        yield from _spare_rows(vocabulary, tables[0].path)


def _is_table(site: ArraySite) -> bool:
    return site.role == "embedding table" and site.axis == 0 and len(site.shape) == 2


def _ids_past_the_end(
    vocabulary: Vocabulary, inverse: set[str], place: str
) -> Iterator[Finding]:
    for site in vocabulary.words:
        if site.end > vocabulary.size and site.layer not in inverse:
            yield Finding(
                "PS101",
                place,
                f"{site.class_name} {site.layer!r} gives ids up to {site.end - 1}, and "
                f"the table has {vocabulary.size} rows.",
                "Add the missing rows with keras_padsafe.surgery.grow, or remove "
                "words from the layer.",
                {"words": site.end, "rows": vocabulary.size, "lookup": site.layer},
            )


def _never_trained(
    array: StoredArray, vocabulary: Vocabulary, rows: np.ndarray
) -> Iterator[Finding]:
    count = int(rows.sum())
    if count:
        first = np.flatnonzero(rows)[:_SHOWN].tolist()
        yield Finding(
            "PS202",
            array.path,
            f"{count} of {array.shape[0]} rows were never trained: their optimizer "
            "slots still hold the initial values. The first are "
            f"{_named(first, vocabulary)}.",
            "Their values are random. Train on data that has these ids, or remove "
            "them with keras_padsafe.surgery.trim.",
            {
                "rows": count,
                "of_rows": array.shape[0],
                "first": first,
                "words": _words(first, vocabulary),
            },
        )


def _equal(
    array: StoredArray, vocabulary: Vocabulary, ignored: np.ndarray
) -> Iterator[Finding]:
    groups = equal_rows(array, ignored, _SHOWN)
    if groups:
        count = sum(group.count for group in groups)
        first = groups[0]
        yield Finding(
            "PS203",
            array.path,
            f"{count} of {array.shape[0]} rows are equal to another row, in "
            f"{len(groups)} groups. The model cannot tell such ids apart. The first "
            f"group has {first.count} rows: {_named(first.rows, vocabulary)}.",
            "Train on data that has these ids. If they mean the same, keep only one "
            "of them, with keras_padsafe.surgery.trim.",
            {
                "rows": count,
                "of_rows": array.shape[0],
                "groups": len(groups),
                "first": [
                    {
                        "count": group.count,
                        "rows": group.rows,
                        "words": _words(group.rows, vocabulary),
                    }
                    for group in groups[:_SHOWN]
                ],
            },
        )


def _pad_rows(array: StoredArray, pads: list[int]) -> Iterator[Finding]:
    rows = {pad: decode(array.read(pad, pad + 1), array.dtype)[0] for pad in pads}
    uneven = [pad for pad, row in rows.items() if (row != row[:1]).any()]
    if uneven:
        yield Finding(
            "PS204",
            array.path,
            f"The rows of pad ids {uneven} are not constant: training changed them. "
            "So padding had an effect on an answer, for example because a layer "
            "ignores the mask.",
            "Find that layer with trace_masks or check_padding and a batch. Or use "
            "keras_padsafe.layers.ExtendableEmbedding, where pad vectors are zero "
            "and stay zero.",
            {"pad_ids": uneven},
        )


def _spare_rows(vocabulary: Vocabulary, place: str) -> Iterator[Finding]:
    end = max((site.end for site in vocabulary.words), default=vocabulary.size)
    spare = vocabulary.size - end
    if spare > 0:
        layers = sorted({site.layer for site in vocabulary.words})
        yield Finding(
            "PS205",
            place,
            f"The table has {vocabulary.size} rows, and {', '.join(layers)} has only "
            f"{end} ids, including padding and unknown words. The last {spare} rows "
            "belong to no word.",
            "If they are spare or round the size up, do nothing. If not, look for an "
            "off-by-one error where the table is made.",
            {"rows": vocabulary.size, "words": end, "spare": spare, "lookups": layers},
        )


def _words(rows: list[int], vocabulary: Vocabulary) -> list[Any]:
    """The word of each row; `None` where the file names none."""
    return [
        next(
            (
                site.words[row - site.first_id]
                for site in vocabulary.words
                if site.first_id <= row < site.end
            ),
            None,
        )
        for row in rows
    ]


def _named(rows: list[int], vocabulary: Vocabulary) -> str:
    words = _words(rows, vocabulary)
    return ", ".join(
        str(row) if word is None else f"{row} ({str(word)[:30]!r})"
        for row, word in zip(rows, words, strict=True)
    )
