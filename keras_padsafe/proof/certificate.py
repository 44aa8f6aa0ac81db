"""What was looked at, what was found, and the verdict."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

FORMAT = "keras_padsafe.certificate/1"

Status = Literal["passed", "failed", "skipped", "does not apply"]
Verdict = Literal["proved", "wrong", "not proved"]


LOADS = "loads in Keras"
"""The name of the check without which there is nothing to run."""


@dataclass(frozen=True)
class Check:
    """One thing that was to be looked at.

    Attributes:
        name: What was to be shown.
        status: `"skipped"`: it could not be looked at. `"does not apply"`: there is
            nothing to look at.
        detail: What was found, or why it could not be looked at and what to do.
        value: The figure behind it, such as a largest difference, if there is one.
    """

    name: str
    status: Status
    detail: str
    value: float | None = None


def few(problems: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
    return "; ".join(problems[:3]) + more


def verdict_of(checks: Iterable[Check]) -> Verdict:
    """What checks show together: nothing is proved that was not looked at."""
    statuses = {check.status for check in checks}
    if "failed" in statuses:
        return "wrong"
    return "not proved" if "skipped" in statuses else "proved"


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
    def verdict(self) -> Verdict:
        """`"wrong"` if a check failed, `"not proved"` if one was skipped."""
        return verdict_of(self.checks)

    @property
    def passed(self) -> bool:
        """Whether the surgery is proved."""
        return self.verdict == "proved"

    def __getitem__(self, name: str) -> Check:
        return {check.name: check for check in self.checks}[name]

    def to_json(self) -> dict[str, Any]:
        """The certificate as plain data."""
        return {
            "format": FORMAT,
            "source": str(self.source),
            "target": str(self.target),
            "backend": self.backend,
            "verdict": self.verdict,
            "passed": self.passed,
            "checks": [vars(check) for check in self.checks],
        }
