"""What all audits of one saved model found."""

from dataclasses import dataclass
from typing import Any

from keras_padsafe.audit.audit_report import AuditReport
from keras_padsafe.proof.certificate import Verdict
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
        return {
            **super().to_json(),
            "verdict": self.verdict,
            "version": __version__,
            "model": self.model,
            "batch": self.batch,
            "backend": self.backend,
            "checks": {name: report.to_json() for name, report in self.checks.items()},
            "skipped": self.skipped,
            "picture": self.picture,
        }
