"""The options that say how the file of a surgery is written and proved."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from keras_padsafe.cli.keras_session import import_option
from keras_padsafe.cli.output import json_option


@dataclass(frozen=True)
class Writing:
    """What the options say.

    Attributes:
        output: The file to write; `None` where only the plan is to be shown.
        force: Whether to write over it.
        modules: Modules to import, which register classes of the user.
        id_map: The file to write what becomes of each id.
        proof: Whether to prove the file; `None` where that is due.
        as_json: Whether to print a document.
    """

    output: str | None
    force: bool
    modules: tuple[str, ...]
    id_map: str | None
    proof: bool | None
    as_json: bool


_OPTIONS = (
    click.option(
        "-o",
        "--output",
        type=click.Path(),
        metavar="OUT",
        help="The .keras file or preset to write.",
    ),
    click.option("--force", is_flag=True, help="Write over OUT if it exists."),
    click.option("--dry-run", is_flag=True, help="Show the plan; write no model."),
    click.option(
        "--map",
        "id_map",
        type=click.Path(),
        metavar="FILE",
        help="Write the new id of each old one as CSV: old_id,new_id,word.",
    ),
)
_PROOF = (
    click.option(
        "--verify",
        is_flag=True,
        help=(
            "Run both models; keep OUT only if the change is proved. This is the "
            "default for models that Keras has to be asked about."
        ),
    ),
    click.option(
        "--no-proof",
        is_flag=True,
        help="Do not run the models; keep OUT without a proof.",
    ),
    import_option,
    json_option,
)


def writing_options(function: Callable[..., None]) -> Callable[..., None]:
    """Adds the options; the command gets them as `writing`."""

    @functools.wraps(function)
    def collected(
        *,
        output: str | None,
        force: bool,
        dry_run: bool,
        id_map: str | None,
        verify: bool,
        no_proof: bool,
        modules: tuple[str, ...],
        as_json: bool,
        **rest: Any,
    ) -> None:
        if output is None and not dry_run:
            raise click.UsageError(
                "Missing option '-o' / '--output', the .keras file to write. To see "
                "only what would change, add --dry-run."
            )
        if verify and no_proof:
            raise click.UsageError(
                "--verify and --no-proof contradict each other. Leave one of them out."
            )
        proof = True if verify else False if no_proof else None
        written = None if dry_run else output
        function(
            writing=Writing(written, force, modules, id_map, proof, as_json), **rest
        )

    made: Any = collected
    for option in reversed((*_OPTIONS, *_PROOF)):
        made = option(made)
    return made
