"""The screen of `grow`, `refill`, `trim` and `remap`."""

from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from keras_padsafe.cli.certificate_view import checks_in_short, verdict_text
from keras_padsafe.cli.plan_view import change_text, plan_parts
from keras_padsafe.cli.sections import command, heading, prose, titled


def report_view(
    document: dict[str, Any], *, imports: tuple[str, ...], declined: bool
) -> RenderableType:
    """The screen of what `Report.to_json` gives.

    Args:
        document: What it gives.
        imports: The modules that `verify` must import.
        declined: Whether the user wanted no proof.
    """
    plan, target = document["plan"], document["target"]
    return Group(
        heading(target, f": {change_text(plan)}, in {document['seconds']:.2f} s"),
        *plan_parts(plan),
        *(["", Text("not proved: --no-proof", "bold yellow")] if declined else []),
        _proof(document) if document["certificate"] else _next(document, imports),
    )


def _proof(document: dict[str, Any]) -> RenderableType:
    certificate = document["certificate"]
    return Group(
        checks_in_short(certificate["checks"]),
        "",
        Text.assemble(
            verdict_text(certificate["verdict"]),
            f", on Keras with {certificate['backend']}",
        ),
    )


def _next(document: dict[str, Any], imports: tuple[str, ...]) -> RenderableType:
    if document["plan"]["new_rows"] == "rows":
        return prose(
            "The file does not hold the rows that were given. To prove it, grow with "
            "--verify, or verify it with the plan that `plan --save` wrote."
        )
    flags = [word for name in imports for word in ("--import", name)]
    words = ("verify", document["source"], document["target"], *flags)
    return titled("Next: prove it", command(*words))
