"""What an audit found."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from keras_padsafe.audit.finding import Finding


@dataclass(frozen=True)
class AuditReport:
    """What an audit found, the first cause first; iterates over its findings.

    Attributes:
        findings: What was found; empty if there is nothing to say.
    """

    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether there is no error and no warning."""
        return all(finding.severity == "note" for finding in self.findings)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    def __str__(self) -> str:
        return "\n".join(map(str, self.findings)) or "nothing found"

    def to_json(self) -> dict[str, Any]:
        """The report as plain data."""
        return {
            "passed": self.passed,
            "findings": [finding.to_json() for finding in self.findings],
        }
