"""The screen of `verify`."""

from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from keras_padsafe.cli.sections import heading, table

_STYLES = {"passed": "green", "failed": "bold red", "skipped": "yellow"}


def certificate_view(document: dict[str, Any]) -> RenderableType:
    """The screen of what `Certificate.to_json` gives."""
    passed = document["passed"]
    verdict = Text(
        "PASSED" if passed else "FAILED", "bold green" if passed else "bold red"
    )
    title = heading(
        document["target"],
        f" against {document['source']}, on Keras with {document['backend']}",
    )
    return Group(title, checks_table(document["checks"]), "", verdict)


def checks_table(checks: list[dict[str, Any]]) -> RenderableType:
    """What was looked at, and what was found."""
    return table(
        "Checks",
        ("", "check", "found"),
        (
            (
                Text(check["status"], _STYLES[check["status"]]),
                check["name"],
                check["detail"],
            )
            for check in checks
        ),
    )
