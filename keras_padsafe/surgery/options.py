"""The arguments that every surgery takes, documented once."""

from collections.abc import Callable, Iterable
from typing import Literal, TypedDict


class FindingOptions(TypedDict, total=False):
    """What settles which vocabulary is meant and what belongs to it.

    Attributes:
        vocabulary: Name of the vocabulary, or of a layer bound to it; may be left out
            when the model has one.
        also: Arrays of your own classes that belong to the vocabulary, each as
            `"LAYER:AXIS"`, or as `"LAYER:AXIS:KEY"` with the configuration key that
            holds the size.
        leave: Layers or arrays that do not, though an axis has the same size.
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
