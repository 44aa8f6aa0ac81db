"""The options that say what to add, and how they become arguments of surgery."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from keras_padsafe.archive.limits import MIB
from keras_padsafe.arguments import spells_integer
from keras_padsafe.cli.command import Failure
from keras_padsafe.cli.make_plan import Growth, KnownWords
from keras_padsafe.cli.read_rows import read_rows

_MOST_SIGNS = 64 * MIB  # of a list of words; it may be a pipe that never ends
_Function = TypeVar("_Function", bound=Callable[..., Any])

model_argument = click.argument("model", metavar="MODEL", type=click.Path())

_SETTLING = (
    click.option(
        "--also",
        multiple=True,
        metavar="LAYER:AXIS[:KEY[:IDS]]",
        help="Also change this axis of a layer, which runs over the ids, and the "
        "configuration key that counts them; IDS, as 0,1, have no entry there. Or "
        "NAME::KEY, a number or words alone; NAME::KEY:id, an id; NAME::KEY=ENTRY, a "
        "list with an entry for each id, and that of new ones. Repeatable.",
    ),
    click.option(
        "--leave",
        multiple=True,
        metavar="LAYER",
        help="Leave this layer, array, number or list (NAME::KEY) as it is, even if "
        "its size fits. Repeatable.",
    ),
    click.option(
        "--ask",
        is_flag=True,
        help="Let Keras show what belongs to the ids even if every class is known.",
    ),
)
_TARGET = (
    click.option(
        "-o",
        "--output",
        type=click.Path(),
        metavar="OUT",
        required=True,
        help="The .keras file to write.",
    ),
    click.option("--force", is_flag=True, help="Write over OUT if it exists."),
)
_VOCABULARY = click.option(
    "--vocabulary",
    metavar="NAME",
    help="Which vocabulary, if the model has several: its name, or that of a layer.",
)
_OPTIMIZER = click.option(
    "--optimizer",
    type=click.Choice(["keep", "drop"]),
    default="keep",
    show_default=True,
    help="keep: the state of the optimizer changes too; drop: it is removed.",
)
_ADDING = (
    click.option(
        "--add", multiple=True, metavar="WORD", help="Add a word. Repeatable."
    ),
    click.option(
        "--add-file",
        type=click.File(encoding="utf-8-sig"),
        metavar="FILE",
        help="Add the words of a UTF-8 text file, one per line; - reads stdin.",
    ),
)
_NEW_ROWS = click.option(
    "--new-rows",
    default="mean",
    show_default=True,
    metavar="SPEC",
    help="What new rows hold: mean, zeros, normal[:SEED], constant:VALUE, "
    "covariance[:SCALE[:SEED]], like:WORD, unknown, pieces, a .npy or "
    ".safetensors[:NAME] file of rows, or a .json file that lists for each new word "
    "the old words that it is like.",
)
_GROWTH = (
    click.option("--rows", type=int, metavar="N", help="Add N ids."),
    *_ADDING,
    _VOCABULARY,
    _NEW_ROWS,
    click.option(
        "--capacity",
        type=int,
        metavar="N",
        help="Add N spare rows for later words; a softmax gives them no probability.",
    ),
    click.option(
        "--multiple-of",
        type=int,
        metavar="K",
        help="Round the number of rows up to a multiple of K.",
    ),
    click.option(
        "--at", type=int, metavar="ID", help="Put the new ids here; later ids move up."
    ),
    click.option("--before", metavar="WORD", help="Put the new ids before this word."),
    click.option(
        "--pad",
        is_flag=True,
        help="The new id is for padding: a row of zeros that is masked. Usually with "
        "--at 0.",
    ),
    *_SETTLING,
    _OPTIMIZER,
)
DEFAULTS: dict[str, Any] = {
    "rows": None,
    "add": (),
    "add_file": None,
    "vocabulary": None,
    "new_rows": "mean",
    "capacity": None,
    "multiple_of": None,
    "at": None,
    "before": None,
    "pad": False,
    "also": (),
    "leave": (),
    "ask": False,
    "optimizer": "keep",
}


def settling_options(function: _Function) -> _Function:
    """Adds `--also`, `--leave` and `--ask`."""
    return _add(_SETTLING, function)


def target_options(function: _Function) -> _Function:
    """Adds `--output` and `--force`."""
    return _add(_TARGET, function)


def vocabulary_options(function: _Function) -> _Function:
    """Adds what settles which vocabulary is meant and what belongs to it."""
    return _add((_VOCABULARY, *_SETTLING, _OPTIMIZER), function)


def adding_options(function: _Function) -> _Function:
    """Adds `--add`, `--add-file` and `--new-rows`."""
    return _add((*_ADDING, _NEW_ROWS), function)


def growth_options(function: _Function) -> _Function:
    """Adds all options that say what to add; the command gets those of `DEFAULTS`."""
    return _add(_GROWTH, function)


def _add(options: Sequence[Callable[[Any], Any]], function: Any) -> Any:
    for option in reversed(options):
        function = option(function)
    return function


def read_growth(
    *,
    rows: int | None,
    add: tuple[str, ...],
    add_file: Any,
    new_rows: str,
    capacity: int | None,
    multiple_of: int | None,
    at: int | None,
    before: str | None,
    pad: bool,
    **settled: Any,
) -> tuple[Growth, dict[str, Any]]:
    """What the options say to add, and those that `make_plan` takes as they are."""
    by_words = bool(add) or add_file is not None
    ways = by_words + (rows is not None)
    if ways > 1 or (ways == 0 and capacity is None):
        raise click.UsageError(
            "Say what to add: either a number, --rows N, or words, --add WORD and "
            "--add-file FILE, or spare rows, --capacity N."
        )
    words = [*add, *read_lines("--add-file", add_file)]
    made: dict[str, Any] = {
        "new_rows": read_rows(new_rows),
        "capacity": capacity,
        "multiple_of": multiple_of,
        "at": at,
        "pad": pad,
    }

    def growth(known: KnownWords) -> dict[str, Any]:
        if before is not None:
            made["before"] = as_known([before], known)[0]
        if not by_words:
            return {"rows": rows, **made}
        return {"tokens": as_known(words, known), **made}

    return growth, settled


def read_lines(option: str, file: Any, *, empty: bool = False) -> list[Any]:
    """The words of a file; an empty line is a word only if `empty` says so."""
    if file is None:
        return []
    try:
        text = file.read(_MOST_SIGNS + 1)
        if len(text) > _MOST_SIGNS:
            raise Failure(
                f"{option} {file.name}: it has more than {_MOST_SIGNS} characters. "
                "Expected: one word per line."
            )
        lines = text.removesuffix("\n").split("\n")
        return lines if empty else [line for line in lines if line]
    except UnicodeDecodeError as error:
        raise Failure(
            f"{option} {file.name}: it is not UTF-8 ({error.reason} at byte "
            f"{error.start}). Expected: one word per line, as UTF-8 text."
        ) from None


def read_by(growth: Mapping[str, Any]) -> list[str | None]:
    """The files that the options name, which are read."""
    return [getattr(growth["add_file"], "name", None), growth["new_rows"]]


def as_known(words: list[Any], known: KnownWords) -> list[Any]:
    """The words, as integers if those that are known are."""
    if any(site.has_integers for site in known):
        return [*map(number_or_word, words)]
    return words


def number_or_word(word: str | int) -> str | int:
    """The integer that a word spells; any other is left for surgery to refuse."""
    return int(word) if spells_integer(str(word)) else word
