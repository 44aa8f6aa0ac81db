"""Finds layers that padding can get through, from the configuration alone."""

import os

from keras_padsafe.archive import open_archive
from keras_padsafe.arguments import read_path
from keras_padsafe.audit.audit_report import AuditReport
from keras_padsafe.audit.finding import Finding
from keras_padsafe.audit.mending.plan_repair import Edit, place_of, plan_repair
from keras_padsafe.facts.masks import USES
from keras_padsafe.saved_model.graph import read_graph
from keras_padsafe.saved_model.layer_tree import read_layer_tree


def check_config(path: str | os.PathLike[str]) -> AuditReport:
    """Finds layers that padding can get through, from the configuration alone.

    Masks are followed through the graph that the file records; no model runs and Keras
    is not imported. `find_nonfinite`, `trace_masks` and `check_padding` measure what
    this reads.

    Args:
        path: A `.keras` file or its unzipped folder.

    Returns:
        An `AuditReport`: PS301 and PS302 where a mask is lost or not used, PS306 where
        it enters code that the file does not hold, and as a note PS307 where an
        ordinary row is safe and `repair` has a layer that makes every row so.

    Raises:
        ArchiveError: if the file cannot be read.
        SurgeryError: if config.json is not as Keras writes it, or is missing.

    Example:
    >>> ids = keras.Input((4,), dtype="int32")
    >>> x = keras.layers.Embedding(9, 8, mask_zero=True)(ids)
    >>> y = keras.ops.max(x, axis=1)
    >>> keras.Model(ids, y).save("model.keras")
    >>> for finding in keras_padsafe.audit.check_config("model.keras"):
    ...     print(finding.code, finding.title)
    PS302 mask ignored
    """
    with open_archive(read_path(path, "path")) as archive:
        root = read_layer_tree(archive)
        plan = plan_repair(root, read_graph(root))
    return AuditReport((*map(_of_edit, plan.edits), *plan.unmended))


def _of_edit(edit: Edit) -> Finding:
    kind, ours = edit.layer.class_name, edit.swap.class_name
    code, what = "PS302", "ignores the mask that it gets, so it reads padding"
    if edit.layer.is_operation or kind == "Add":
        code = "PS301"
        what = "drops the mask of its input, so later layers read padding"
    elif kind in USES:
        code = "PS307"
        what = "is safe for ordinary rows, but not for empty rows or NaN in padding"
    return Finding(
        code,
        place_of(edit.layer),
        f"{kind} {what}.",
        f"keras-padsafe repair replaces it with {ours}; check_padding measures the "
        "effect.",
        {"class": kind, "replacement": ours},
    )
