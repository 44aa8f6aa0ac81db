"""The arguments that every surgery takes, documented once."""

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Literal, ParamSpec, TypedDict, TypeVar, get_args

from keras_padsafe.errors import SurgeryError

Params = ParamSpec("Params")
Result = TypeVar("Result")


class FindingOptions(TypedDict, total=False):
    """What settles which vocabulary is meant and what belongs to it.

    Attributes:
        vocabulary: Name of the vocabulary, or of a layer bound to it; may be left out
            when the model has one.
        also: Arrays of your own classes that belong to the vocabulary, each as
            `"LAYER:AXIS"`, or as `"LAYER:AXIS:KEY"` with the configuration key that
            holds the size. Ids that have no entry there come last: `"scores:1::0"` is
            a head that does not score id 0. Or numbers and lists that no array
            follows, each as `"NAME::KEY"`, with the name of a layer, loss or metric.
            `"NAME::KEY:id"` is a number that names an id, or a list of them.
            `"NAME::KEY=ENTRY"` is a list with an entry for each id, and that of new
            ids, as JSON writes it, or a word.
        leave: Layers, arrays or such numbers and lists that do not, though they are as
            large. Arrays inside a layer are left with it, but for the only table of a
            vocabulary.
        ask: `True` asks Keras what follows the vocabulary also where every class of
            the model is known. A model with other classes is asked about anyway.
    """

    vocabulary: str | None
    also: Iterable[str]
    leave: Iterable[str]
    ask: bool


class Options(FindingOptions, total=False):
    """`FindingOptions`, and what becomes of the optimizer.

    Attributes:
        optimizer: `"keep"`, the default, lets the state of the optimizer change along,
            so that training goes on; `"drop"` leaves it behind.
    """

    optimizer: Literal["keep", "drop"]


class WritingOptions(Options, total=False):
    """`Options`, and how the result is written.

    Attributes:
        overwrite: Whether the target may exist.
        proof: Whether both models are run before the new file gets its name, and a
            file that is not proved is thrown away. Left out, that is done where Keras
            had to be asked about the model.
        progress: Called with the bytes written so far and their total.
    """

    overwrite: bool
    proof: bool | None
    progress: Callable[[int, int], None] | None


def takes_options(function: Callable[Params, Result]) -> Callable[Params, Result]:
    """Refuses keywords that neither a function nor its `**options` have."""
    code, (options,) = function.__code__, get_args(function.__annotations__["options"])
    own = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    known = (*own, *options.__annotations__)

    @wraps(function)
    def checked(*args: Params.args, **keywords: Params.kwargs) -> Result:
        for name in keywords:
            if name not in known:
                raise _unknown(function.__name__, name, known)
        return function(*args, **keywords)

    return checked


def _unknown(function: str, name: str, known: tuple[str, ...]) -> SurgeryError:
    from difflib import get_close_matches

    near = "".join(f" Do you mean {n!r}?" for n in get_close_matches(name, known, 1))
    return SurgeryError(
        f"{function}: it takes no keyword {name!r:.60}.{near} Expected: "
        f"{', '.join(known)}."
    )
