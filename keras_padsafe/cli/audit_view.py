"""The screen of `audit`."""

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from keras_padsafe.cli.certificate_view import verdict_text
from keras_padsafe.cli.sections import bullets, command, heading, table, titled

_STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}


def audit_view(document: dict[str, Any]) -> RenderableType:
    """The screen of what `FileAudit.to_json` gives."""
    about = ""
    if document["batch"]:
        about = f" with {document['batch']}, on Keras with {document['backend']}"
    return Group(
        heading(document["model"], about),
        findings_view(document["findings"]),
        table("Looked at", ("", ""), _checks(document)),
        bullets(
            "Not looked at",
            (f"{name}: {why}" for name, why in document["skipped"].items()),
            "bold yellow",
        ),
        "",
        _verdict(document),
    )


def findings_view(findings: list[dict[str, Any]]) -> RenderableType:
    """Each finding: what, where, and what to do."""
    if not findings:
        return Group()
    parts = [part for finding in findings for part in _finding(finding)]
    return titled("Findings", Group(*parts[:-1]))


def _finding(finding: Mapping[str, Any]) -> list[RenderableType]:
    style = _STYLES[finding["severity"]]
    return [
        Text.assemble(
            (f"{finding['code']} {finding['title']}", style),
            "  ",
            (finding["place"], "bold"),
        ),
        Padding(finding["message"][:1].upper() + finding["message"][1:], (0, 0, 0, 2)),
        Padding(Text(finding["fix"], "green"), (0, 0, 0, 2)),
        "",
    ]


def _checks(document: Mapping[str, Any]) -> list[tuple[str, Any]]:
    made = [
        (name, Text("nothing found", "green") if report["passed"] else "findings")
        for name, report in document["checks"].items()
    ]
    return made + [(name, "see below") for name in document["skipped"]]


def _verdict(document: Mapping[str, Any]) -> RenderableType:
    mend = [f for f in document["findings"] if f["code"] in ("PS301", "PS302", "PS303")]
    verdict = verdict_text(document["verdict"])
    if not mend:
        return verdict
    source = document["model"]
    return Group(
        verdict,
        "",
        "To swap the layers that let padding through:",
        command("repair", source, "-o", "mended.keras"),
    )
