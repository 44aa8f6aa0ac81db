"""One thing that an audit found."""

from dataclasses import dataclass, field
from typing import Any

from keras_padsafe.audit.codes import CODES, Severity


@dataclass(frozen=True)
class Finding:
    """One thing that an audit found.

    Attributes:
        code: Which kind it is; `keras_padsafe.audit.CODES` lists them.
        place: Where: the path of a layer, an array, an input, the loss.
        message: What happened there, in one sentence.
        fix: What to do about it.
        evidence: The figures behind it, as plain data: counts, rows, positions.
    """

    code: str
    place: str
    message: str
    fix: str
    evidence: dict[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What kind of finding this is."""
        return CODES[self.code].title

    @property
    def severity(self) -> Severity:
        """`"error"`, `"warning"` or `"note"`."""
        return CODES[self.code].severity

    def __str__(self) -> str:
        return f"{self.code} {self.severity} at {self.place}: {self.message} {self.fix}"

    def to_json(self) -> dict[str, Any]:
        """The finding as plain data."""
        data = {"code": self.code, "title": self.title, "severity": self.severity}
        return data | vars(self)
