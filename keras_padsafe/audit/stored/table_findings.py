"""What there is to say of the tables of one vocabulary."""

import hashlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_padsafe.archive import Archive, StoredArray, decode, encode
from keras_padsafe.audit.finding import Finding
from keras_padsafe.surgery.finding.sites import ArraySite
from keras_padsafe.surgery.finding.vocabulary import Vocabulary

_SHOWN = 8
PIECE_BYTES = 1 << 22
# With the bits of their fraction: how many values chance has to choose from at least.
FLOATS = {"bfloat16": 7, "float16": 10, "float32": 23, "float64": 52}


def table_findings(
    archive: Archive, vocabulary: Vocabulary, inverse: set[str], not_checked: list[str]
) -> Iterator[Finding]:
    """The findings of one vocabulary; what could not be looked at is added.

    `inverse` names the lookup layers that turn ids into words.
    """
    sites = (site for site in vocabulary.arrays if site.role == "embedding table")
    tables = [site for site in sites if site.axis == 0 and len(site.shape) == 2]
    if not tables:
        return
    if vocabulary.slot_problem:
        problem, _, _ = vocabulary.slot_problem.partition(". Expected:")
        not_checked.append(f"rows never trained: {problem}")
    place, size = tables[0].path, vocabulary.size
    for site in vocabulary.words:
        if site.end > size and site.layer not in inverse:
            yield Finding(
                "PS101",
                place,
                f"{site.class_name} {site.layer!r} gives ids up to {site.end - 1}, and "
                f"the table has {size} rows.",
                "Add the missing rows with keras_padsafe.surgery.grow, or remove "
                "words from the layer.",
                {"words": site.end, "rows": size, "lookup": site.layer},
            )
    for site in tables:
        if site.dtype in FLOATS:
            yield from _of_table(archive, site, vocabulary, not_checked)
        else:
            why = f"it is quantized ({site.dtype})"
            not_checked.append(f"the rows of {site.path}: {why}")
    end = max((site.end for site in vocabulary.words), default=size)
    if size > end:
        layers = sorted({site.layer for site in vocabulary.words})
        yield Finding(
            "PS205",
            place,
            f"The table has {size} rows, and {', '.join(layers)} has only {end} ids, "
            f"including padding and unknown words. The last {size - end} rows belong "
            "to no word.",
            "If they are spare or round the size up, do nothing. If not, look for an "
            "off-by-one error where the table is made.",
            {"rows": size, "words": end, "spare": size - end, "lookups": layers},
        )


def _of_table(
    archive: Archive, site: ArraySite, vocabulary: Vocabulary, not_checked: list[str]
) -> Iterator[Finding]:
    array, size = archive.arrays[site.path], site.size
    # Those that only its gradients move; moving averages are none.
    own = [slot for slot in vocabulary.slots if slot.slot_of == site.path]
    slots = [slot for slot in own if isinstance(slot.fill, float)]
    untrained = _untrained(size, slots, archive)
    pads = [pad for pad in vocabulary.pad_ids if 0 <= pad < size]
    padding = np.isin(np.arange(size), pads)
    rows = np.flatnonzero(untrained & ~padding)
    if rows.size:
        first = rows[:_SHOWN].tolist()
        words = _words(first, vocabulary)
        yield Finding(
            "PS202",
            site.path,
            f"{rows.size} of {size} rows were never trained: their optimizer slots "
            f"still hold the initial values. The first are {_named(first, words)}.",
            "Their values are random. Train on data that has these ids, or remove "
            "them with keras_padsafe.surgery.trim.",
            {"rows": rows.size, "of_rows": size, "first": first, "words": words},
        )
    # Rows may well be equal by chance if they are many, narrow and coarse.
    bits = FLOATS[site.dtype] * math.prod(site.shape[1:])
    if size**2 / 2 > 1e-6 * 2.0 ** min(bits, 1000):
        not_checked.append(
            f"equal rows of {site.path}: with {size} rows of {site.shape[1]} values in "
            f"{site.dtype}, some are equal by chance"
        )
    elif groups := _equal_rows(array, untrained | padding):
        total = sum(count for count, _ in groups)
        words = [_words(rows, vocabulary) for _, rows in groups[:_SHOWN]]
        shown = zip(groups, words, strict=False)
        count, first = groups[0]
        yield Finding(
            "PS203",
            site.path,
            f"{total} of {size} rows are equal to another row, in {len(groups)} "
            "groups. The model cannot tell such ids apart. The first group has "
            f"{count} rows: {_named(first, words[0])}.",
            "Train on data that has these ids. If they mean the same, keep only one "
            "of them, with keras_padsafe.surgery.trim.",
            {
                "rows": total,
                "of_rows": size,
                "groups": len(groups),
                "first": [{"count": n, "rows": r, "words": w} for (n, r), w in shown],
            },
        )
    trained = [pad for pad in pads if not untrained[pad] and slots and untrained.any()]
    kept = {pad: decode(array.read(pad, pad + 1), site.dtype)[0] for pad in trained}
    uneven = [pad for pad, row in kept.items() if (row != row[:1]).any()]
    if uneven:
        yield Finding(
            "PS204",
            site.path,
            f"The rows of pad ids {uneven} are not constant: training changed them. "
            "So padding had an effect on an answer, for example because a layer "
            "ignores the mask.",
            "Find that layer with trace_masks or check_padding and a batch. Or use "
            "keras_padsafe.layers.ExtendableEmbedding, where pad vectors are zero "
            "and stay zero.",
            {"pad_ids": uneven},
        )


def _words(rows: list[int], vocabulary: Vocabulary) -> list[Any]:
    """The word of each row; `None` where the file names none."""
    words = {row: None for row in rows}
    for site in reversed(vocabulary.words):
        listed = [row for row in rows if site.first_id <= row < site.end]
        words |= {row: site.words[row - site.first_id] for row in listed}
    return [*words.values()]


def _named(rows: list[int], words: list[Any]) -> str:
    return ", ".join(
        str(row) if word is None else f"{row} ({str(word)[:30]!r})"
        for row, word in zip(rows, words, strict=True)
    )


def _untrained(size: int, slots: list[ArraySite], archive: Archive) -> np.ndarray:
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
        for first, block in _row_blocks(archive.arrays[slot.path]):
            moved = decode(block, slot.dtype) != start
            moved = moved.reshape(len(block), -1).any(axis=1)
            trained[rows[first : first + len(block)]] |= moved
    return with_slot & ~trained & trained.any()


def _equal_rows(array: StoredArray, ignored: np.ndarray) -> list[tuple[int, list[int]]]:
    """Groups of rows that are equal bit for bit: how many, and the first of them.

    There is none if all rows are one, as in a table that starts as zeros.
    """
    rows = np.flatnonzero(~ignored)
    digests = np.empty((array.shape[0], 2), "<u8")  # Sixteen bytes for each row.
    for start, block in _row_blocks(array):
        flat = np.ascontiguousarray(block).reshape(len(block), -1)
        for number, row in enumerate(flat, start):
            digest = hashlib.blake2b(row.data, digest_size=16).digest()
            digests[number] = np.frombuffer(digest, "<u8")
    digests = digests[rows]
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


def _row_blocks(array: StoredArray) -> Iterator[tuple[int, np.ndarray]]:
    """Whole rows as stored, a block at a time, each with the number of its first."""
    row = max(array.nbytes // max(array.shape[0], 1), 1)
    step = max(1, PIECE_BYTES // row)
    for start in range(0, array.shape[0], step):
        yield start, array.read(start, start + step)
