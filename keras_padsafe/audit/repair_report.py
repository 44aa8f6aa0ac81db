"""What a repair did."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_padsafe.audit.audit_report import AuditReport
from keras_padsafe.proof.certificate import Check, Verdict, verdict_of


@dataclass(frozen=True)
class Swapped:
    """A layer or operation that a layer of another class took the place of.

    Attributes:
        place: The path of the layer.
        old: Its class before.
        new: Its class now.
    """

    place: str
    old: str
    new: str


@dataclass(frozen=True)
class RepairReport(AuditReport):
    """What a repair did; its findings are what it could not mend.

    Attributes:
        source: The file before.
        target: The file after.
        swapped: What was swapped; empty if there was nothing to mend.
        checks: What both models, run side by side, have shown.
    """

    source: Path
    target: Path
    swapped: tuple[Swapped, ...]
    checks: tuple[Check, ...]

    @property
    def verdict(self) -> Verdict:
        """`"wrong"` if something was not mended or a check failed.

        `"not proved"` if something could not be looked at, or nothing was.
        """
        if self.findings:
            return "wrong"
        unseen = (self.swapped and not self.checks) or self.not_looked_at
        return "not proved" if unseen else verdict_of(self.checks)

    @property
    def passed(self) -> bool:
        """Whether everything was mended and that is proved."""
        return self.verdict == "proved"

    def __getitem__(self, name: str) -> Check:
        for check in self.checks:
            if check.name == name:
                return check
        raise KeyError(name)

    def __str__(self) -> str:
        lines = [f"{one.place}: {one.old} -> {one.new}" for one in self.swapped]
        lines += [
            f"{check.status}: {check.name}: {check.detail}" for check in self.checks
        ]
        lines += map(str, self.findings)
        lines += [f"not looked at: {what}" for what in self.not_looked_at]
        return "\n".join(lines) or "nothing to repair"

    def to_json(self) -> dict[str, Any]:
        """The report as plain data."""
        return super().to_json() | {"verdict": self.verdict}
