"""The closed list of what an audit can find, and what FINDINGS.md says of it."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

PAGE = Path(__file__).with_name("FINDINGS.md")
# A code, its title, and the text below, which begins with its severity.
_SECTION = re.compile(r"^## (PS\d+) (.*)\n\n((?:(?!## ).*\n)*)", re.MULTILINE)
_SECTIONS: list[tuple[str, str, str]] = _SECTION.findall(PAGE.read_text("utf-8"))

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


# The page is the list. Codes are a format: they are never given another meaning. PS1 is
# data, PS2 weights, PS3 masks, PS4 padding, PS5 non-finite values.
CODES = {
    code: Code(title, cast(Severity, text[1:].partition(".")[0].lower()))
    for code, title, text in _SECTIONS
}


def explanation(code: str) -> str:
    """The text below the heading of a code, as Markdown.

    Example:

    >>> from keras_padsafe.audit.codes import explanation
    >>> print(explanation("PS103").partition(".*")[0])
    *Warning
    """
    return {known: text for known, _, text in _SECTIONS}[code].strip()
