"""The closed list of what an audit can find, and what FINDINGS.md says of it."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

PAGE = Path(__file__).with_name("FINDINGS.md")

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Code:
    """One kind of finding.

    Attributes:
        title: What it is, in a few words.
        severity: `"error"` if answers are wrong or lost, `"warning"` if they can
            become so, `"note"` if nothing has to be done.
    """

    title: str
    severity: Severity


# The codes are a format: they are never given another meaning. FINDINGS.md explains
# each of them; PS1 is data, PS2 weights, PS3 masks, PS4 padding, PS5 non-finite values.
CODES: dict[str, Code] = {
    "PS101": Code("id out of range", "error"),
    "PS102": Code("negative id", "error"),
    "PS103": Code("empty row", "warning"),
    "PS104": Code("pad id inside a sequence", "warning"),
    "PS105": Code("padding on both sides", "warning"),
    "PS201": Code("non-finite weight", "error"),
    "PS202": Code("rows never trained", "note"),
    "PS203": Code("equal rows", "note"),
    "PS204": Code("pad row not constant", "note"),
    "PS205": Code("table larger than its vocabulary", "note"),
    "PS206": Code("table of another size than its layer says", "error"),
    "PS301": Code("mask dropped", "error"),
    "PS302": Code("mask ignored", "error"),
    "PS303": Code("mask erased", "error"),
    "PS304": Code("mask from nowhere", "error"),
    "PS305": Code("loss counts padding", "warning"),
    "PS306": Code("mask enters unknown code", "note"),
    "PS307": Code("layer with a safer one", "note"),
    "PS401": Code("answer depends on the amount of padding", "error"),
    "PS402": Code("answer depends on what padding holds", "error"),
    "PS403": Code("answer depends on the side of padding", "note"),
    "PS404": Code("answer depends on the rest of the batch", "error"),
    "PS501": Code("non-finite: empty row", "error"),
    "PS502": Code("non-finite: id out of range", "error"),
    "PS503": Code("non-finite: overflow in this dtype", "error"),
    "PS504": Code("non-finite: NaN in the input", "error"),
    "PS505": Code("non-finite: NaN already in a weight", "error"),
    "PS506": Code("non-finite: NaN crossing a mask", "error"),
    "PS507": Code("non-finite: unsafe-where gradient", "error"),
    "PS508": Code("non-finite: division by zero", "error"),
    "PS509": Code("non-finite: diverged weights", "error"),
    "PS510": Code("non-finite: undefined operation", "error"),
}


def explanation(code: str) -> str:
    """The text below the heading of a code, as Markdown.

    Example:

    >>> from keras_padsafe.audit.codes import explanation
    >>> print(explanation("PS103").partition(".*")[0])
    *Warning
    """
    page = PAGE.read_text(encoding="utf-8")
    found = re.search(rf"^## {code} .*\n((?:(?!## ).*\n)*)", page, re.MULTILINE)
    if found is None:
        raise KeyError(code)
    return found[1].strip()
