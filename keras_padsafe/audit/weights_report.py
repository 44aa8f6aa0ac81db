"""What an audit of the weights found, and what it could not look at."""

from dataclasses import dataclass
from typing import Any

from keras_padsafe.audit.audit_report import AuditReport


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

    def to_json(self) -> dict[str, Any]:
        """The report as plain data."""
        return {**super().to_json(), "not_checked": list(self.not_checked)}
