"""The screen of `repair`."""

from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from keras_padsafe.cli.certificate_view import (
    checks_table,
    not_looked_at,
    verdict_text,
)
from keras_padsafe.cli.sections import bullets, heading, table


def repair_view(document: dict[str, Any]) -> RenderableType:
    """The screen of what `RepairReport.to_json` gives."""
    return Group(
        heading(document["target"], f" from {document['source']}"),
        table(
            "Replaced",
            ("layer", "was", "is"),
            ((one["place"], one["old"], one["new"]) for one in document["swapped"]),
        ),
        table(
            "Not repaired",
            ("", "layer", "why"),
            (
                (one["code"], one["place"], f"{one['message']} {one['fix']}")
                for one in document["findings"]
            ),
        ),
        checks_table(document["checks"]),
        not_looked_at(document["checks"]),
        bullets("Not looked at", document["not_looked_at"], "bold yellow"),
        "",
        _outcome(document),
        verdict_text(document["verdict"]),
    )


def _outcome(document: dict[str, Any]) -> Text:
    if document["findings"]:
        return Text("Not everything could be repaired.")
    if document["swapped"]:
        return Text("Repaired.")
    unseen = document["not_looked_at"]
    return Text("Nothing could be repaired." if unseen else "Nothing to repair.")
