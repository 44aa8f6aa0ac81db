"""Every audit of one saved model, with a batch or without."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from keras_padsafe.archive import open_archive
from keras_padsafe.audit.audit_report import AuditReport
from keras_padsafe.audit.check_config import check_config
from keras_padsafe.audit.check_ids import check_ids
from keras_padsafe.audit.check_weights import check_weights
from keras_padsafe.audit.finding import Finding
from keras_padsafe.audit.padding_report import PaddingReport
from keras_padsafe.errors import AuditError, PadsafeError
from keras_padsafe.proof.certificate import Verdict
from keras_padsafe.proof.load_models import ModelFailed, load_model
from keras_padsafe.surgery.inspect import inspect
from keras_padsafe.version import __version__

_Made = dict[str, AuditReport | str]
"""The report of each audit, or why it could not be made."""


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
    picture: dict[str, Any] | None = None

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
    made: _Made = {"weights": check_weights(path)}
    with open_archive(path) as archive:
        has_config = archive.config is not None
    made["layers"] = (
        _report_or_why(str(path), lambda: check_config(path))
        if has_config
        else "the file holds weights only. Audit the .keras file that model.save wrote"
    )
    return _file_audit(str(path), made)


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

    from keras_padsafe.audit.check_padding import check_padding
    from keras_padsafe.audit.find_nonfinite import find_nonfinite
    from keras_padsafe.audit.run.model_runs import ModelRuns
    from keras_padsafe.audit.trace_masks import MaskTrace, trace_masks

    try:
        model, _ = load_model(path)
    except ModelFailed as error:
        raise AuditError(
            f"{path}: Keras cannot load the model. {error} You can also audit it "
            "without a batch."
        ) from None
    pad = pad_id if pad_id is not None else _pad_ids(path)
    file = str(path)
    made: _Made = {
        "weights": check_weights(path),
        "ids": _report_or_why(file, lambda: _check_ids(model, x, pad)),
        "non-finite values": _report_or_why(
            file, lambda: find_nonfinite(model, x, y, sample_weight=sample_weight)
        ),
    }
    refused = ModelRuns(model, x).refusal() is not None
    if refused:
        why = "the model raises an error on this batch"
        made |= {"masks": why, "padding": why}
    else:
        masks = made["masks"] = _report_or_why(file, lambda: trace_masks(model, x))
        # A model without masks and pad ids has no padding.
        if pad != [] or not isinstance(masks, MaskTrace) or masks.rows:
            made["padding"] = _report_or_why(file, lambda: check_padding(model, x, pad))
    backend = keras.backend.backend()
    audit = _file_audit(file, made, batch_name or "a batch", backend)
    return audit if refused else replace(audit, picture=_picture(model, x, audit))


def _report_or_why(file: str, check: Callable[[], AuditReport]) -> AuditReport | str:
    """Makes one audit; what it cannot look at is a reason, not the end."""
    try:
        return check()
    except PadsafeError as error:
        return str(error)
    except Exception as error:
        # Only a model raises anything else, and then on its own account.
        from keras_padsafe.audit.run.model_runs import what_was_said

        said = what_was_said(error)
        raise AuditError(
            f"{file}: the model does not take this batch ({said}). Expected: one batch "
            "like those it was trained on. In an .npz file, name the arrays like the "
            "inputs of the model, or x if there is only one."
        ) from None


def _file_audit(
    file: str, made: _Made, batch: str | None = None, backend: str | None = None
) -> FileAudit:
    checks = {n: one for n, one in made.items() if isinstance(one, AuditReport)}
    skipped = {n: one for n, one in made.items() if isinstance(one, str)}
    order = ("error", "warning", "note")
    findings = [finding for report in checks.values() for finding in report]
    findings.sort(key=lambda finding: order.index(finding.severity))
    return FileAudit(tuple(findings), file, batch, backend, checks, skipped)


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


def _picture(model: Any, x: Any, audit: FileAudit) -> dict[str, Any]:
    from keras_padsafe.audit.run.float_noise import MULTIPLE
    from keras_padsafe.audit.run.layer_picture import layer_picture

    places = {finding.place for finding in audit}
    padding, lost = (
        audit.checks.get(name) for name in ("padding", "non-finite values")
    )
    row = next((row for one in lost or () for row in one.evidence.get("rows", [])), 0)
    if isinstance(padding, PaddingReport) and not padding.passed:
        row = padding.row
    document = layer_picture(model, x, row, places)
    if isinstance(padding, PaddingReport) and row == padding.row:
        layers = {layer.path: layer for layer in padding.layers}
        for shown in document["layers"]:
            layer, states = layers.get(shown["path"]), shown["states"]
            limit = MULTIPLE * layer.noise if layer else 0.0
            positions = layer.positions if layer else ()
            shown["moved"] = bool(layer) and positions is None and layer.moved > limit
            for step, moved in enumerate(positions or ()):
                if moved > limit and states[step : step + 1] == ["real"]:
                    states[step] = "moved"
    return document
