"""Every audit of one saved model, with a batch or without."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from keras_padsafe.archive import open_archive
from keras_padsafe.audit.audit_report import AuditReport
from keras_padsafe.audit.check_config import check_config
from keras_padsafe.audit.check_ids import check_ids
from keras_padsafe.audit.check_padding import check_padding
from keras_padsafe.audit.check_weights import check_weights
from keras_padsafe.audit.find_nonfinite import find_nonfinite
from keras_padsafe.audit.finding import Finding
from keras_padsafe.audit.trace_masks import MaskTrace, trace_masks
from keras_padsafe.errors import AuditError, PadsafeError
from keras_padsafe.proof.certificate import Verdict
from keras_padsafe.proof.load_models import ModelFailed, load_model
from keras_padsafe.surgery.inspect import inspect
from keras_padsafe.version import __version__


@dataclass(frozen=True)
class FileAudit(AuditReport):
    """What all audits of one saved model found.

    Attributes:
        model: The file.
        batch: Where the batch came from; `None` if there was none.
        backend: The Keras backend that ran the model; `None` if it was not run.
        checks: The report of each audit that was made, by name.
        skipped: Why an audit could not be made and what to do, by name.
        picture: What became of each position of one row, layer by layer, as plain
            data; `None` without a batch.
    """

    model: str
    batch: str | None
    backend: str | None
    checks: dict[str, AuditReport]
    skipped: dict[str, str]
    picture: dict[str, Any] | None

    @property
    def verdict(self) -> Verdict:
        """`"wrong"` if something was found, `"not proved"` if not all was looked at."""
        if self.alarming:
            return "wrong"
        missing = any(report.not_looked_at for report in self.checks.values())
        return "not proved" if self.skipped or missing else "proved"

    @property
    def passed(self) -> bool:
        """Whether nothing was found, and all was looked at."""
        return self.verdict == "proved"

    def to_json(self) -> dict[str, Any]:
        """The report as plain data."""
        more = {"verdict": self.verdict, "version": __version__}
        return super().to_json() | more


def audit_file(path: str | os.PathLike[str]) -> FileAudit:
    """Audits the weights and the configuration of a file; no model is run."""
    audit = _Audit(str(path))
    audit.checks["weights"] = check_weights(path)
    with open_archive(path) as archive:
        has_config = archive.config is not None
    if has_config:
        audit.make("layers", lambda: check_config(path))
    else:
        audit.skipped["layers"] = (
            "the file holds weights only. Audit the .keras file that model.save wrote"
        )
    return audit.report(None, None, None)


def audit_with_batch(
    path: str | os.PathLike[str],
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    *,
    pad_id: int | None = None,
    batch_name: str | None = None,
) -> FileAudit:
    """Audits a file and what its model makes of a batch, on the running backend.

    The loss is the one that the model was compiled with; padding is what the file
    itself says, if `pad_id` is left out.
    """
    import keras

    from keras_padsafe.audit.run.model_runs import ModelRuns

    try:
        model, _ = load_model(path)
    except ModelFailed as error:
        raise AuditError(
            f"{path}: Keras cannot load the model. {error} You can also audit it "
            "without a batch."
        ) from None
    pad = pad_id if pad_id is not None else _pad_ids(path)
    audit = _Audit(str(path))
    audit.checks["weights"] = check_weights(path)
    audit.make("ids", lambda: _check_ids(model, x, pad))
    audit.make(
        "non-finite values",
        lambda: find_nonfinite(model, x, y, sample_weight=sample_weight),
    )
    picture = None
    if ModelRuns(model, x).refusal() is None:
        audit.make("masks", lambda: trace_masks(model, x))
        masks = audit.checks.get("masks")
        # A model without masks and pad ids has no padding.
        if pad != [] or not isinstance(masks, MaskTrace) or masks.rows:
            audit.make("padding", lambda: check_padding(model, x, pad))
        picture = _picture(model, x, audit.checks)
    else:
        why = "the model raises an error on this batch"
        audit.skipped |= {"masks": why, "padding": why}
    return audit.report(batch_name or "a batch", keras.backend.backend(), picture)


class _Audit:
    def __init__(self, model: str) -> None:
        self.checks: dict[str, AuditReport] = {}
        self.skipped: dict[str, str] = {}
        self._model = model

    def make(self, name: str, check: Callable[[], AuditReport]) -> None:
        """Makes one audit; what it cannot look at is a reason, not the end."""
        try:
            self.checks[name] = check()
        except PadsafeError as error:
            self.skipped[name] = str(error)
        except Exception as error:
            # Only a model raises anything else, and then on its own account.
            from keras_padsafe.audit.run.model_runs import what_was_said

            said = what_was_said(error)
            raise AuditError(
                f"{self._model}: the model does not take this batch ({said}). "
                "Expected: one batch like those it was trained on. In an .npz file, "
                "name the arrays like the inputs of the model, or x if there is only "
                "one."
            ) from None

    def report(self, batch: str | None, backend: str | None, picture: Any) -> FileAudit:
        findings = [finding for report in self.checks.values() for finding in report]
        order = ("error", "warning", "note")
        findings.sort(key=lambda finding: order.index(finding.severity))
        return FileAudit(
            findings=tuple(findings),
            model=self._model,
            batch=batch,
            backend=backend,
            checks=self.checks,
            skipped=self.skipped,
            picture=picture,
        )


def _pad_ids(path: str | os.PathLike[str]) -> list[int]:
    """What the file itself says of padding."""
    try:
        vocabularies = inspect(path).vocabularies
    except PadsafeError:
        return []
    return sorted({pad for vocabulary in vocabularies for pad in vocabulary.pad_ids})


def _check_ids(model: Any, x: Any, pad: Any) -> AuditReport:
    """The ids of every input that goes into a table."""
    from keras_padsafe.audit.run.id_inputs import find_id_inputs

    found: list[Finding] = []
    for name, ids, input_dim in find_id_inputs(model, x):
        for finding in check_ids(ids, input_dim, pad):
            place = finding.place if name is None else f"input {name}"
            found.append(replace(finding, place=place))
    return AuditReport(tuple(found))


def _picture(
    model: Any, x: Any, checks: dict[str, AuditReport]
) -> dict[str, Any] | None:
    from keras_padsafe.audit.padding_report import PaddingReport
    from keras_padsafe.audit.run.float_noise import MULTIPLE
    from keras_padsafe.audit.run.layer_picture import layer_picture

    findings = [finding for report in checks.values() for finding in report]
    padding = checks.get("padding")
    lost = checks.get("non-finite values", ())
    row = next((row for one in lost for row in one.evidence.get("rows", [])), 0)
    if isinstance(padding, PaddingReport) and not padding.passed:
        row = padding.row
    document = layer_picture(model, x, row, {finding.place for finding in findings})
    if isinstance(padding, PaddingReport) and row == padding.row:
        layers = {layer.path: layer for layer in padding.layers}
        for shown in document["layers"]:
            shown["moved"], marks = False, np.zeros(0, bool)
            layer = layers.get(shown["path"])
            if layer is not None and layer.positions is not None:
                marks = np.asarray(layer.positions) > MULTIPLE * layer.noise
            elif layer is not None:
                shown["moved"] = layer.moved > MULTIPLE * layer.noise
            for step in np.flatnonzero(marks[: len(shown["states"])]):
                if shown["states"][step] == "real":
                    shown["states"][step] = "moved"
    return document
