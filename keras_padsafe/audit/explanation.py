"""What FINDINGS.md says about a code."""

import re
from pathlib import Path

PAGE = Path(__file__).with_name("FINDINGS.md")


def explanation(code: str) -> str:
    """The text below the heading of a code, as Markdown.

    Example:

    >>> from keras_padsafe.audit.explanation import explanation
    >>> print(explanation("PS103").partition(".*")[0])
    *Warning
    """
    page = PAGE.read_text(encoding="utf-8")
    found = re.search(rf"^## {code} .*\n((?:(?!## ).*\n)*)", page, re.MULTILINE)
    if found is None:
        raise KeyError(code)
    return found[1].strip()
