"""Finds what is wrong with the weights of a saved model."""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_padsafe.archive import Archive, StoredArray, decode, open_archive
from keras_padsafe.archive.dtypes import storage_dtype
from keras_padsafe.archive.refusal import refusing
from keras_padsafe.arguments import read_path
from keras_padsafe.audit.audit_report import AuditReport
from keras_padsafe.audit.finding import Finding
from keras_padsafe.audit.stored.table_findings import (
    FLOATS,
    PIECE_BYTES,
    table_findings,
)
from keras_padsafe.errors import SurgeryError
from keras_padsafe.saved_model.layer_tree import read_layer_tree
from keras_padsafe.surgery.finding.inventory import read_inventory
from keras_padsafe.surgery.finding.tables import stored_tables

_SHOWN = 8


@dataclass(frozen=True)
class WeightsReport(AuditReport):
    """An `AuditReport` of a file's weights.

    Attributes:
        not_checked: What could not be looked for in this file, and why.
    """

    not_checked: tuple[str, ...] = ()

    def __str__(self) -> str:
        left_out = [f"not checked: {reason}" for reason in self.not_checked]
        return "\n".join([super().__str__(), *left_out])


def check_weights(path: str | os.PathLike[str]) -> WeightsReport:
    """Finds what is wrong with the weights of a saved model.

    Looks for NaN and infinity in every weight and in the optimizer's state; in
    embedding tables for rows that were never trained, equal rows, pad rows that are
    not constant, and rows that no word has. Keras is not imported, and arrays are read
    piece by piece; beside a piece there are at most some 40 bytes for a row of a table.

    Args:
        path: A `.keras` file, its unzipped folder, or weights alone, `.weights.h5` or
            `.weights.json`, of which only non-finite values can be told.

    Returns:
        A `WeightsReport`: findings PS201 to PS206, PS101 where a lookup layer gives
        ids that its table has no row for, and in `not_checked` what could not be
        looked for. A file in which no value is wrong has notes at most.

    Raises:
        ArchiveError: if the file is not a Keras 3 model file that can be read safely.
        SurgeryError: if `path` is no path.

    Example:
    >>> model = keras.Sequential(
    ...     [keras.Input((4,), dtype="int32"), keras.layers.Embedding(50, 8)]
    ... )
    >>> model.save("healthy.keras")
    >>> keras_padsafe.audit.check_weights("healthy.keras").passed
    True
    >>> table = np.zeros((50, 8))
    >>> table[7, 2] = np.nan
    >>> model.set_weights([table])
    >>> model.save("ill.keras")
    >>> finding = next(iter(keras_padsafe.audit.check_weights("ill.keras")))
    >>> finding.code, finding.place, finding.evidence["first"]
    ('PS201', 'layers/embedding/vars/0', [[7, 2]])
    """
    not_checked: list[str] = []
    with open_archive(read_path(path, "path")) as archive:
        findings = [*_non_finite(archive), *_of_tables(archive, not_checked)]
        archive.check_unchanged()
    findings.sort(key=lambda finding: finding.code != "PS201")
    return WeightsReport(tuple(findings), tuple(not_checked))


def _of_tables(archive: Archive, not_checked: list[str]) -> Iterator[Finding]:
    try:
        root = read_layer_tree(archive)
        vocabularies = read_inventory(archive).vocabularies
    except SurgeryError as error:
        # What the weights themselves show is worth having all the same.
        not_checked.append(f"the rows of tables: {error}")
        return
    for layer in root.walk():
        for table in stored_tables(layer):
            if table.contradiction is not None:
                shape, axis = [*table.array.shape], table.axis
                yield Finding(
                    "PS206",
                    table.array.path,
                    f"In layer {layer.name!r} {table.contradiction} (axis {axis}), so "
                    "Keras cannot load the file.",
                    "Go back to the earlier file and grow it with `keras-padsafe "
                    "grow`, or save the model again with `model.save`. Both keep the "
                    "table and the configuration in step.",
                    {"shape": shape, "axis": axis, "key": table.key},
                )
    inverse = {node.name for node in root.walk() if node.config.get("invert") is True}
    for vocabulary in vocabularies:
        yield from table_findings(archive, vocabulary, inverse, not_checked)


def _non_finite(archive: Archive) -> Iterator[Finding]:
    slots: list[dict[str, Any]] = []
    for array in archive.arrays.values():
        found = _look(array) if array.dtype in FLOATS else {}
        if not found:
            continue
        if array.path.startswith("optimizer/"):
            slots.append({"path": array.path, **found})
            continue
        layer = f" of layer {array.layer_name!r}" if array.layer_name else ""
        size, shape = math.prod(array.shape), [*array.shape]
        nan, infinite = found["nan"], found["infinite"]
        yield Finding(
            "PS201",
            array.path,
            f"{nan + infinite} of {size} values{layer} are not finite ({nan} NaN, "
            f"{infinite} infinite), in {found['rows']} rows; the first is at "
            f"{found['first'][0]} of shape {shape}.",
            "Go back to an earlier checkpoint. keras_padsafe.audit.find_nonfinite "
            "shows where NaN begins.",
            {"layer": array.layer_name, "shape": shape, "dtype": array.dtype, **found},
        )
    if slots:
        yield Finding(
            "PS201",
            "optimizer",
            f"{len(slots)} variables of the optimizer hold values that are not finite; "
            f"the first is {slots[0]['path']}, in {slots[0]['rows']} rows.",
            "The next step would spoil the weights. Go back to an earlier checkpoint, "
            "or compile with a new optimizer.",
            {"arrays": len(slots), "first": slots[:_SHOWN]},
        )


def _look(array: StoredArray) -> dict[str, Any]:
    """How many values are NaN or infinite, in how many rows, and the first of them."""
    nan = infinite = count = 0
    first: list[list[int]] = []
    last_row, row_size = -1, max(math.prod(array.shape[1:]), 1)
    stored = storage_dtype(array.dtype)
    # Unlike `StoredArray.read` this cuts within a row, however long one is.
    for start in range(0, array.nbytes, PIECE_BYTES):
        size = min(PIECE_BYTES, array.nbytes - start)
        with refusing(array.data.name):
            bits = np.frombuffer(array.data.read(start, size), stored)
        values = decode(bits, array.dtype)
        numbers = np.flatnonzero(~np.isfinite(values))
        if not numbers.size:
            continue
        infinite += int(np.isinf(values).sum())
        nan += int(np.isnan(values).sum())
        numbers += start // stored.itemsize
        rows = np.unique(numbers // row_size)
        count += len(rows) - int(rows[0] == last_row)
        last_row = int(rows[-1])
        places = np.unravel_index(numbers[: _SHOWN - len(first)], array.shape or (1,))
        first += np.transpose(places)[:, : len(array.shape)].tolist()
    figures = {"nan": nan, "infinite": infinite, "rows": count, "first": first}
    return figures if first else {}
