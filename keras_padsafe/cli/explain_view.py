"""The screens of `explain`."""

import re
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from keras_padsafe.cli.layout import Hanging
from keras_padsafe.cli.sections import heading, table

SEVERITY_STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}
_EMPHASIS = re.compile(r"\*(\S[^*`]*\S)\*|`")


def codes_view(document: dict[str, Any]) -> RenderableType:
    """Every code with its severity and title."""
    return Group(
        heading("Codes of findings", "; more about one: keras-padsafe explain CODE"),
        table(
            "Codes",
            ("", "", ""),
            (
                (
                    one["code"],
                    Text(one["severity"], SEVERITY_STYLES[one["severity"]]),
                    one["title"],
                )
                for one in document["codes"]
            ),
        ),
    )


def explain_view(document: dict[str, Any]) -> RenderableType:
    """The page of one code: its Markdown with paragraphs as lines, code indented."""
    parts: list[RenderableType] = []
    for number, block in enumerate(document["text"].split("```")):
        if number % 2:
            code = block.removeprefix("python\n").rstrip()
            parts += ["", *(Text(f"    {line}", "cyan") for line in code.split("\n"))]
            continue
        for paragraph in block.strip().split("\n\n"):
            words = _EMPHASIS.sub(
                lambda found: found[1] or "", paragraph.replace("\n", " ")
            )
            parts += ["", Hanging(Text(words), "  ")] if words else []
    return Group(heading(document["code"], f" {document['title']}"), *parts)
