"""Finds what is wrong with ids before a model sees them."""

from collections.abc import Iterable
from typing import Any

from keras_padsafe.arguments import as_integer, read_count
from keras_padsafe.audit.audit_report import AuditReport
from keras_padsafe.audit.finding import Finding
from keras_padsafe.audit.stored.id_batches import batches_of, blocks_of, ids_of
from keras_padsafe.audit.stored.id_tally import IdTally, Tally
from keras_padsafe.errors import IdError


def check_ids(
    batches: Any,
    input_dim: int,
    pad_id: int | Iterable[int] | None = None,
    *,
    input_name: str | int | None = None,
) -> AuditReport:
    """Finds what is wrong with ids before a model sees them.

    Looks for ids that the table has no row for, negative ids, rows without a real id,
    pad ids between real ones, and rows padded on different sides. One finding for each
    kind, with counts and the first rows. Nothing is run but the data itself, one epoch
    of it in constant memory; for NumPy data no backend is imported.

    A row of ids is one sample, `(time,)`; where ids have more axes the last one is
    time. Padding at either end of a row, or at both, is not inside it, and a row of
    padding alone is empty and has no side. A pad id is never out of range, as for
    `ExtendableEmbedding`; if your table has no row for it and is a stock `Embedding`,
    leave `pad_id` out and it is counted as the bad id that it is there.

    Args:
        batches: Ids, `(batch, time)`, as an array or a list of rows of any lengths; a
            1-D array is one sequence. Or what `fit` takes: a `keras.utils.PyDataset`,
            a `tf.data.Dataset`, a torch `DataLoader`, any iterable of batches. A batch
            is `x`, `(x, y)` or `(x, y, sample_weight)`. A generator is used up; of one
            without an end pass a part: `itertools.islice(batches, steps)`.
        input_dim: Number of rows of the table.
        pad_id: The id, or ids, that mean padding.
        input_name: Which input holds the ids, by its key or number, if `x` is a dict
            or a list of several. May be left out if one is called `token_ids` or
            `input_ids`.

    Returns:
        An `AuditReport` of findings PS101 to PS105.

    Raises:
        IdError: if the data is empty, has no end, or holds no integer ids.

    Example:
    >>> report = keras_padsafe.audit.check_ids(
    ...     [[5, 9, 0, 0], [7, 50, 3, 2]], input_dim=50, pad_id=0
    ... )
    >>> report.passed
    False
    >>> [(finding.code, finding.evidence["ids"]) for finding in report]
    [('PS101', 1)]
    """
    rows = read_count(input_dim, "input_dim", IdError, least=1)
    tally = IdTally(rows, _pad_ids(pad_id))
    name = "ids"
    for number, batch in enumerate(batches_of(batches)):
        place = f"batch {number}"
        name, ids = ids_of(batch, input_name, place)
        tally.batch, row = number, 0
        for block, present in blocks_of(ids, f"{place}, {name}"):
            tally.add(block, present, row)
            row += len(block)
    if not tally.rows:
        raise IdError(
            "batches: they hold no row of ids. Expected: at least one batch with a "
            "row. A generator may be used up already: make a new one."
        )
    return AuditReport(tuple(_findings(tally, name)))


def _findings(tally: IdTally, name: str) -> Iterable[Finding]:
    rows = f"of {tally.rows} rows"
    kinds = (
        (
            "PS101",
            tally.too_large,
            f"past the end of a table of {tally.input_dim} rows; the largest is "
            f"{tally.too_large.largest}",
            "Add the missing rows with keras_padsafe.surgery.grow, or map such ids "
            "to the unknown token.",
        ),
        (
            "PS102",
            tally.negative,
            f"negative; the smallest is {tally.negative.smallest}",
            "If they mean padding, pass `pad_id` here and to "
            "keras_padsafe.layers.ExtendableEmbedding. If not, correct the code that "
            "makes them.",
        ),
    )
    for code, bad, what, fix in kinds:
        if bad.rows:
            counts = f"{bad.ids} of {tally.ids} ids, in {bad.rows} {rows}, are {what}."
            message = f"{counts} The first is in {bad}."
            yield Finding(code, name, message, fix, _evidence(bad, tally))
    bad = tally.empty
    if bad.rows:
        yield Finding(
            "PS103",
            name,
            f"{bad.rows} {rows} hold no real id. The first is {bad}.",
            "Drop these rows, put the unknown token into them, or use layers that "
            "return zeros for an empty row, such as "
            "keras_padsafe.layers.MaskedGlobalAveragePooling1D.",
            {"rows": bad.rows, "of_rows": tally.rows, "first": bad.first},
        )
    bad = tally.inside
    if bad.rows:
        yield Finding(
            "PS104",
            name,
            f"{bad.ids} pad ids lie between real ids, in {bad.rows} {rows}. The "
            f"first is in {bad}.",
            "If this id is also a word, give padding its own id, such as -1 in "
            "keras_padsafe.layers.ExtendableEmbedding. If not, close the gaps.",
            _evidence(bad, tally),
        )
    if tally.left.rows and tally.right.rows:
        yield Finding(
            "PS105",
            name,
            f"{tally.left.rows} {rows} are padded on the left and {tally.right.rows} "
            f"on the right. The first are {tally.left} and {tally.right}.",
            "Pad all rows on the same side, in training and in use, for example with "
            "`keras.utils.pad_sequences(..., padding='post')`.",
            {
                "left_rows": tally.left.rows,
                "right_rows": tally.right.rows,
                "of_rows": tally.rows,
                "first_left": tally.left.first,
                "first_right": tally.right.first,
            },
        )


def _evidence(bad: Tally, tally: IdTally) -> dict[str, Any]:
    return {**vars(bad), "of_ids": tally.ids, "of_rows": tally.rows}


def _pad_ids(pad_id: Any) -> tuple[int, ...]:
    if pad_id is None:
        return ()
    several = isinstance(pad_id, Iterable) and getattr(pad_id, "ndim", 1) > 0
    several = several and not isinstance(pad_id, str | bytes)
    numbers = [as_integer(pad) for pad in (pad_id if several else [pad_id])]
    found = tuple(number for number in numbers if number is not None)
    if len(found) < len(numbers):
        raise IdError(
            "pad_id: expected one integer or several; received "
            f"{type(pad_id).__name__} {str(pad_id)[:40]}."
        )
    return found
