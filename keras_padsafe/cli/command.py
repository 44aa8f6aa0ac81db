"""What every command shares: examples under its help, and how it ends."""

import errno
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import IO, Any

import click

from keras_padsafe.cli.as_document import as_document
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


class Command(click.Command):
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


class Group(Command, click.Group):
    """The group of all commands, listed in the order of their use.

    Started, it ends with 0, 1, 2 or 130, whatever happens: a traceback would leave
    with 1, which reads as findings.

    Args:
        names: The commands. Each is a function of the module of that name beside this
            one, imported when it is asked for: the others would take most of the time.
    """

    def __init__(self, *args: Any, names: Sequence[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._names = names

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._names)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._names:
            return None
        return getattr(import_module(f"keras_padsafe.cli.{cmd_name}"), cmd_name)

    def main(
        self,
        args: Sequence[str] | None = None,
        *more: Any,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        if not standalone_mode:
            return super().main(args, *more, standalone_mode=False, **extra)
        for stream in (sys.stdout, sys.stderr):
            # What the terminal cannot show is spelled out.
            with suppress(AttributeError, ValueError):
                stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        words = sys.argv[1:] if args is None else [*args]
        with suppress(OSError, ValueError):  # stderr may be full or closed as well.
            sys.exit(self._outcome(words, *more, **extra))
        sys.exit(FAILURE)

    def _outcome(self, words: Sequence[str], *more: Any, **extra: Any) -> int:
        """Runs a command, says what went wrong, and returns the exit code."""
        try:
            code = super().main(words, *more, standalone_mode=False, **extra)
            if sys.stdout is not None:
                sys.stdout.flush()
            return code if isinstance(code, int) else 0
        except (KeyboardInterrupt, click.Abort):
            click.echo("Interrupted.", err=True)
            return _INTERRUPTED
        except SystemExit as end:
            if end.code == 0:  # So click ends when it has completed a word.
                return 0
            _give_up_stdout()  # So click and rich end when nobody reads any more.
        except OSError as error:
            _give_up_stdout()
            if error.errno != errno.EPIPE:  # Else nobody reads, so nobody is told.
                Failure(f"the result could not be written ({error}).").show()
        except Exception as error:
            _tell(error, as_json="--json" in words)
        return FAILURE


def _tell(error: Exception, *, as_json: bool) -> None:
    """Says on stderr what went wrong, and as a document where one is expected."""
    said = error if isinstance(error, click.ClickException) else Failure(_words(error))
    if as_json:
        content = {
            "kind": type(error).__name__,
            "message": said.format_message(),
            "exit_code": FAILURE,
        }
        click.echo(as_document("error", content))
    if isinstance(said, click.UsageError):
        said.message = printable(said.message)
    said.show()


def _words(error: Exception) -> str:
    if isinstance(error, PadsafeError):
        return str(error)
    if isinstance(error, MemoryError):
        return "there is not enough memory for this."
    where = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"{type(error).__name__}: {error} ({os.path.basename(where.filename)}, line "
        f"{where.lineno}). This is a fault of keras-padsafe. Please report it, with "
        "the command and the output of keras-padsafe --version."
    )


def _give_up_stdout() -> None:
    """Else Python would try again on its way out, and complain."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
