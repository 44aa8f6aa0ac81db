"""The screen of `audit`."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from keras_padsafe.cli.certificate_view import verdict_text
from keras_padsafe.cli.explain_view import SEVERITY_STYLES
from keras_padsafe.cli.layout import Hanging
from keras_padsafe.cli.sections import bullets, command, heading, table, titled


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
            not_looked_at(document),
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
    first = findings[0]["code"]
    more = Text(f"More about a code: keras-padsafe explain {first}", "dim")
    return titled("Findings", Group(*parts, more))


def sentence(text: str) -> str:
    """The text with a capital at its beginning."""
    return text[:1].upper() + text[1:]


def _finding(finding: Mapping[str, Any]) -> list[RenderableType]:
    style = SEVERITY_STYLES[finding["severity"]]
    return [
        Text.assemble(
            (f"{finding['code']} {finding['severity']}: {finding['title']}", style),
            "  ",
            (finding["place"], "bold"),
        ),
        Hanging(Text(sentence(finding["message"])), "  "),
        Hanging(Text(finding["fix"], "green"), "  "),
        "",
    ]


def _checks(document: Mapping[str, Any]) -> list[tuple[str, Any]]:
    made = [(name, _counted(report)) for name, report in document["checks"].items()]
    return made + [(name, "see below") for name in document["skipped"]]


def not_looked_at(document: Mapping[str, Any]) -> list[str]:
    """Each audit, or part of one, that could not be made, and why."""
    return [f"{name}: {why}" for name, why in document["skipped"].items()] + [
        f"{name}: {what}"
        for name, report in document["checks"].items()
        for what in report["not_looked_at"]
    ]


def severities(findings: Sequence[Mapping[str, Any]]) -> str:
    """How many findings of each severity there are, in words."""
    kinds = [finding["severity"] for finding in findings]
    return ", ".join(
        f"{kinds.count(kind)} {kind}{'' if kinds.count(kind) == 1 else 's'}"
        for kind in SEVERITY_STYLES
        if kind in kinds
    )


def _counted(report: Mapping[str, Any]) -> Text:
    found = severities(report["findings"])
    if not found and report["not_looked_at"]:
        return Text("see below")
    return Text(found) if found else Text("nothing found", "green")


def _verdict(document: Mapping[str, Any]) -> RenderableType:
    mend = [f for f in document["findings"] if f["code"] in ("PS301", "PS302", "PS303")]
    verdict = verdict_text(document["verdict"])
    if not mend:
        return verdict
    source = document["model"]
    return Group(
        verdict,
        "",
        "To replace the layers that let padding through:",
        command("repair", source, "-o", "repaired.keras"),
    )
