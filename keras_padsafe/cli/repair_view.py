"""The screen of `repair`."""

from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from keras_padsafe.cli.certificate_view import checks_table
from keras_padsafe.cli.sections import heading, table


def repair_view(document: dict[str, Any]) -> RenderableType:
    """The screen of what `RepairReport.to_json` gives."""
    return Group(
        heading(document["target"], f" from {document['source']}"),
        table(
            "Swapped",
            ("layer", "was", "is"),
            ((one["place"], one["old"], one["new"]) for one in document["swapped"]),
        ),
        table(
            "Not mended",
            ("", "layer", "why"),
            (
                (one["code"], one["place"], f"{one['message']} {one['fix']}")
                for one in document["findings"]
            ),
        ),
        checks_table(document["checks"]),
        "",
        _verdict(document),
    )


def _verdict(document: dict[str, Any]) -> Text:
    if not document["passed"]:
        failed = any(check["status"] == "failed" for check in document["checks"])
        return Text("FAILED" if failed else "NOT ALL MENDED", "bold red")
    return Text("MENDED" if document["swapped"] else "NOTHING TO MEND", "bold green")
