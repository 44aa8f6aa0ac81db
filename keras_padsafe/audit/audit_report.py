"""What an audit found."""

from collections.abc import Iterator
from dataclasses import dataclass, field, is_dataclass
from math import isinf
from pathlib import Path
from typing import Any

from keras_padsafe.audit.finding import Finding


@dataclass(frozen=True)
class AuditReport:
    """What an audit found, the first cause first; iterates over its findings.

    Attributes:
        findings: What was found; empty if there is nothing to say.
        not_looked_at: What could not be looked at, and why.
    """

    findings: tuple[Finding, ...]
    not_looked_at: tuple[str, ...] = field(default=(), kw_only=True)

    @property
    def passed(self) -> bool:
        """Whether all was looked at, and there is no error and no warning."""
        return not (self.not_looked_at or self.alarming)

    @property
    def alarming(self) -> bool:
        """Whether there is an error or a warning."""
        return any(finding.severity != "note" for finding in self.findings)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    @property
    def _lines(self) -> list[str]:
        missing = [f"not looked at: {what}" for what in self.not_looked_at]
        return [*map(str, self.findings), *missing]

    def __str__(self) -> str:
        return "\n".join(self._lines) or "nothing found"

    def to_json(self) -> dict[str, Any]:
        """The report as plain data."""
        return {"passed": self.passed, **plain(vars(self))}


def plain(value: Any) -> Any:
    """Plain data; infinity as text, since JSON has none."""
    if hasattr(value, "to_json"):
        return value.to_json()
    if is_dataclass(value):
        return plain(vars(value))
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [*map(plain, value)]
    if isinstance(value, float) and isinf(value):
        return "inf"
    return str(value) if isinstance(value, Path) else value
