"""The command line: a screen and a JSON document from the same data.

The result goes to stdout; progress, warnings and errors to stderr. Exit codes: 0
clean, 1 findings or not proved, 2 usage or I/O. Nothing here imports Keras at the top
of a module, so that a command that does not need it starts at once.
"""

import click

from keras_padsafe.cli.command import Group
from keras_padsafe.cli.version_line import version_option


@click.group(
    cls=Group,
    names=(
        *("inspect", "plan", "grow", "refill", "trim", "remap", "verify"),
        *("audit", "explain", "repair", "demo"),
    ),
    context_settings={"help_option_names": ["-h", "--help"]},
    examples=[
        "grow model.keras -o grown.keras --add zebra --add okapi",
        "audit model.keras --batch batch.npz --html report.html",
    ],
)
@version_option
def main() -> None:
    """Change the vocabulary of a saved Keras 3 model, or find what padding does to it.

    A change keeps the outputs of the old ids, the state of the optimizer, and every
    byte that need not change. The file that you give is never modified.
    """
