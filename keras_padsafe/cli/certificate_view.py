"""The screen of `verify`."""

from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from keras_padsafe.cli.sections import bullets, heading, table

_STYLES = {
    "passed": "green",
    "failed": "bold red",
    "skipped": "yellow",
    "does not apply": "dim",
}
_VERDICTS = {"proved": "bold green", "wrong": "bold red", "not proved": "bold yellow"}


def certificate_view(document: dict[str, Any]) -> RenderableType:
    """The screen of what `Certificate.to_json` gives."""
    title = heading(
        document["target"],
        f" against {document['source']}, on Keras with {document['backend']}",
    )
    checks = document["checks"]
    return Group(
        title,
        checks_table(checks),
        not_looked_at(checks),
        "",
        verdict_text(document["verdict"]),
    )


def verdict_text(verdict: str) -> Text:
    """The word of a verdict, in capitals."""
    return Text(verdict.upper(), _VERDICTS[verdict])


def checks_table(checks: list[dict[str, Any]]) -> RenderableType:
    """What was looked at, and what was found."""
    return table(
        "Checks",
        ("", "check", "found"),
        (
            (
                Text(check["status"], _STYLES[check["status"]]),
                check["name"],
                "see below" if check["status"] == "skipped" else check["detail"],
            )
            for check in checks
        ),
    )


def checks_in_short(checks: list[dict[str, Any]]) -> RenderableType:
    """The names of the checks, by what came of them."""
    statuses = [
        status for status in _STYLES if any(c["status"] == status for c in checks)
    ]
    return table(
        "Checks",
        ("", ""),
        (
            (
                Text(status, _STYLES[status]),
                ", ".join(c["name"] for c in checks if c["status"] == status),
            )
            for status in statuses
        ),
    )


def not_looked_at(checks: list[dict[str, Any]]) -> RenderableType:
    """Why something could not be looked at, and what to do."""
    return bullets(
        "Not looked at",
        (f"{c['name']}: {c['detail']}" for c in checks if c["status"] == "skipped"),
        "bold yellow",
    )
