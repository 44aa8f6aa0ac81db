"""What `verify` found."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Status = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: What was to be shown.
        status: `"skipped"` means that it could not be looked at; `detail` says why.
        detail: What was found.
        value: The figure behind it, if there is one: a largest difference, a share of
            probability, a count.
    """

    name: str
    status: Status
    detail: str
    value: float | None = None


@dataclass(frozen=True)
class Certificate:
    """The findings of `verify` on a file and the file that a surgery made of it.

    Attributes:
        source: The file before.
        target: The file after.
        backend: The Keras backend that ran both models.
        checks: What was looked at, in order.
    """

    source: Path
    target: Path
    backend: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return all(check.status != "failed" for check in self.checks)

    def __getitem__(self, name: str) -> Check:
        for check in self.checks:
            if check.name == name:
                return check
        raise KeyError(name)

    def to_json(self) -> dict[str, Any]:
        """The certificate as plain data."""
        return {
            "source": str(self.source),
            "target": str(self.target),
            "backend": self.backend,
            "passed": self.passed,
            "checks": [vars(check) for check in self.checks],
        }
