"""What a surgery did."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_padsafe.proof.certificate import Certificate
from keras_padsafe.surgery.planning.plan import Plan


@dataclass(frozen=True)
class Report:
    """What a surgery did.

    Attributes:
        source: The file that was read, `None` for a live model.
        target: The file that was written, `None` if only a model was asked for.
        plan: What was changed.
        seconds: How long it took.
        model: The new model, when a live model was given.
        certificate: What the proof found; `None` if nothing was run.
    """

    source: Path | None
    target: Path | None
    plan: Plan
    seconds: float
    model: Any = None
    certificate: Certificate | None = None

    @property
    def tokens(self) -> dict[str | int, int]:
        """The id of each new word."""
        return self.plan.tokens

    @property
    def new_ids(self) -> list[int]:
        """The ids whose rows are new."""
        return self.plan.row_map.new_ids.tolist()

    def to_json(self) -> dict[str, Any]:
        """The report as plain data."""
        return {
            "source": str(self.source) if self.source else None,
            "target": str(self.target) if self.target else None,
            "seconds": round(self.seconds, 3),
            "verdict": self.certificate.verdict if self.certificate else None,
            "certificate": self.certificate.to_json() if self.certificate else None,
            "plan": self.plan.to_json(with_rows=False),
        }
