"""One plan from one look at a file."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from keras_padsafe.surgery import Plan
    from keras_padsafe.surgery.finding.sites import WordsSite

KnownWords: TypeAlias = "Sequence[WordsSite]"
Growth: TypeAlias = Callable[[KnownWords], dict[str, Any]]


def make_plan(
    model: str,
    change: Growth,
    *,
    vocabulary: str | None,
    also: tuple[str, ...],
    leave: tuple[str, ...],
    ask: bool,
    optimizer: Any,
) -> "Plan":
    """The plan of a change that depends on the words that the vocabulary knows.

    Args:
        model: The file.
        change: Takes those words and says what is to be done, as `Request` has it.
        vocabulary: The vocabulary that is meant, if the model has several.
        also: What belongs to it.
        leave: What does not.
        ask: Whether to ask Keras in any case.
        optimizer: Whether to keep its state.
    """
    from keras_padsafe import surgery
    from keras_padsafe.surgery.planning.choose_vocabulary import choose_vocabulary
    from keras_padsafe.surgery.planning.request import Request

    inventory = surgery.inspect(model, also=also, leave=leave, ask=ask)
    known = choose_vocabulary(inventory, vocabulary).words
    request = Request(vocabulary=vocabulary, optimizer=optimizer, **change(known))
    return request.plan_from(inventory)
