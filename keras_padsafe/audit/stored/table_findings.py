"""What there is to say of the tables of one vocabulary."""

import hashlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from keras_padsafe.archive import Archive, StoredArray, decode, encode
from keras_padsafe.audit.finding import Finding
from keras_padsafe.surgery.finding.sites import ArraySite
from keras_padsafe.surgery.finding.vocabulary import Vocabulary

_SHOWN = 8
PIECE_BYTES = 1 << 22
FLOATS = ("float16", "bfloat16", "float32", "float64")
# Bits of a float's fraction: how many values chance has to choose from, at the least.
_FRACTION_BITS = {"bfloat16": 7, "float16": 10, "float32": 23, "float64": 52}


def table_findings(
    archive: Archive, vocabulary: Vocabulary, inverse: set[str], not_checked: list[str]
) -> Iterator[Finding]:
    """The findings of one vocabulary; what could not be looked at is added.

    `inverse` names the lookup layers that turn ids into words.
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
        slots = _slots_of(site, vocabulary)
        untrained = _untrained_rows(site.size, slots, archive.arrays)
        pads = [pad for pad in vocabulary.pad_ids if 0 <= pad < site.size]
        padding = np.isin(np.arange(site.size), pads)
        yield from _never_trained(array, vocabulary, untrained & ~padding)
        if _chance_makes_equal_rows(array):
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
    groups = _equal_rows(array, ignored)
    if groups:
        total = sum(count for count, _ in groups)
        count, rows = groups[0]
        yield Finding(
            "PS203",
            array.path,
            f"{total} of {array.shape[0]} rows are equal to another row, in "
            f"{len(groups)} groups. The model cannot tell such ids apart. The first "
            f"group has {count} rows: {_named(rows, vocabulary)}.",
            "Train on data that has these ids. If they mean the same, keep only one "
            "of them, with keras_padsafe.surgery.trim.",
            {
                "rows": total,
                "of_rows": array.shape[0],
                "groups": len(groups),
                "first": [
                    {"count": count, "rows": rows, "words": _words(rows, vocabulary)}
                    for count, rows in groups[:_SHOWN]
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

    def word(row: int) -> Any:
        for site in vocabulary.words:
            if site.first_id <= row < site.end:
                return site.words[row - site.first_id]
        return None

    return [*map(word, rows)]


def _named(rows: list[int], vocabulary: Vocabulary) -> str:
    words = _words(rows, vocabulary)
    return ", ".join(
        str(row) if word is None else f"{row} ({str(word)[:30]!r})"
        for row, word in zip(rows, words, strict=True)
    )


def _slots_of(table: ArraySite, vocabulary: Vocabulary) -> list[ArraySite]:
    """The slots of a table that only its gradients move; moving averages are none."""
    own = [slot for slot in vocabulary.slots if slot.slot_of == table.path]
    return [slot for slot in own if isinstance(slot.fill, float)]


def _untrained_rows(
    size: int, slots: list[ArraySite], arrays: Mapping[str, StoredArray]
) -> np.ndarray:
    """Marks the rows whose slots all hold what they started with.

    None is marked if there are no slots, or no row was trained: the optimizer has not
    run. Rows that have no slot are kept out of training, and not marked.
    """
    with_slot = np.ones(size, bool)
    trained = np.zeros(size, bool)
    for slot in slots:
        with_slot[list(slot.skips)] = False
        rows = np.flatnonzero(with_slot)
        start = decode(encode(np.array([slot.fill]), slot.dtype), slot.dtype)[0]
        for first, block in _row_blocks(arrays[slot.path]):
            moved = decode(block, slot.dtype) != start
            moved = moved.reshape(len(block), -1).any(axis=1)
            trained[rows[first : first + len(block)]] |= moved
    if not trained.any():
        return np.zeros(size, bool)
    return with_slot & ~trained


def _equal_rows(array: StoredArray, ignored: np.ndarray) -> list[tuple[int, list[int]]]:
    """Groups of rows that are equal bit for bit: how many, and the first of them.

    There is none if all rows are one, as in a table that starts as zeros.
    """
    rows = np.flatnonzero(~ignored)
    digests = _row_digests(array)[rows]
    order = np.lexsort((digests[:, 1], digests[:, 0]))  # stable: rows stay in order
    ordered = digests[order]
    same = (ordered[1:] == ordered[:-1]).all(axis=1)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], same.view(np.int8), [0]])))
    groups = [
        (int(end - start + 1), rows[order[start : end + 1][:_SHOWN]].tolist())
        for start, end in edges.reshape(-1, 2)
        if end - start + 1 < len(rows)
    ]
    return sorted(groups, key=lambda group: group[1][0])


def _row_digests(array: StoredArray) -> np.ndarray:
    """Sixteen bytes for each row as `(rows, 2)`; equal for rows of equal bits only."""
    digests = np.empty((array.shape[0], 2), "<u8")
    for start, block in _row_blocks(array):
        flat = np.ascontiguousarray(block).reshape(len(block), -1)
        for number, row in enumerate(flat):
            digest = hashlib.blake2b(row.data, digest_size=16).digest()
            digests[start + number] = np.frombuffer(digest, "<u8")
    return digests


def _row_blocks(array: StoredArray) -> Iterator[tuple[int, np.ndarray]]:
    """Whole rows as stored, a block at a time, each with the number of its first."""
    row = max(array.nbytes // max(array.shape[0], 1), 1)
    step = max(1, PIECE_BYTES // row)
    for start in range(0, array.shape[0], step):
        yield start, array.read(start, start + step)


def _chance_makes_equal_rows(array: StoredArray) -> bool:
    """Whether rows may well be equal by chance: many of them, narrow and coarse."""
    pairs = array.shape[0] ** 2 / 2
    bits = _FRACTION_BITS[array.dtype] * math.prod(array.shape[1:])
    return pairs > 1e-6 * 2.0 ** min(bits, 1000)
