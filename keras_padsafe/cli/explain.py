"""`keras-padsafe explain`."""

import difflib

import click

from keras_padsafe.audit.codes import CODES, explanation
from keras_padsafe.cli.command import Command, Failure
from keras_padsafe.cli.explain_view import codes_view, explain_view
from keras_padsafe.cli.output import json_option, show


@click.command(
    cls=Command,
    short_help="Explain the code of a finding, and what to do.",
    examples=["explain PS301", "explain --json"],
)
@click.argument("code", required=False)
@json_option
def explain(code: str | None, as_json: bool) -> None:
    """Explain the code of a finding, with an example and a fix.

    Without a code, all codes are listed.
    """
    if code is None:
        document = {"codes": [{"code": name, **vars(CODES[name])} for name in CODES]}
        show(document, codes_view, kind="codes", as_json=as_json)
        return
    known = CODES.get(code.upper())
    if known is None:
        raise Failure(_unknown(code))
    name = code.upper()
    document = {"code": name, **vars(known), "text": explanation(name)}
    show(document, explain_view, kind="code", as_json=as_json)


def _unknown(code: str) -> str:
    near = difflib.get_close_matches(code.upper(), CODES, n=3)
    return (
        f"{code}: there is no such code. "
        + (f"Similar: {', '.join(near)}. " if near else "Codes look like PS301. ")
        + "All of them: keras-padsafe explain"
    )
