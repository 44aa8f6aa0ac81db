"""What every command shares: examples under its help, and errors that exit with 2."""

from collections.abc import Sequence
from typing import IO, Any

import click

from keras_padsafe.cli.printable import printable
from keras_padsafe.errors import PadsafeError

FINDINGS = 1
FAILURE = 2
_INTERRUPTED = 130  # As a shell reports it; 1 would read as a finding.


class Failure(click.ClickException):
    """Says on stderr what went wrong and exits with 2."""

    exit_code = FAILURE

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"Error: {printable(self.message)}", file=file, err=True)


class _WithExamples(click.Command):
    """A command whose help ends with examples, unwrapped, to be copied.

    Args:
        examples: Each what follows `keras-padsafe`.
    """

    def __init__(self, *args: Any, examples: Sequence[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Examples"):
            for example in self.examples:
                formatter.write(f"  keras-padsafe {example}\n")


class Command(_WithExamples):
    """A command that reports every error raised on purpose without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except PadsafeError as error:
            raise Failure(str(error)) from None
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            ctx.exit(_INTERRUPTED)


class Group(_WithExamples, click.Group):
    """The group of all commands, listed in the order of their use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)
