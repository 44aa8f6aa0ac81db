"""What differs in a variant of a padding audit, as a sentence says it."""

from collections.abc import Mapping

_SAID: Mapping[str, str] = {
    "gradient": "a gradient at the padding",
    "other side": "padding on the other side",
    "other mates": "other rows beside it",
    "alone": "no other row beside it",
}


def said(variant: str) -> str:
    """The words for a variant, which a report names by its key."""
    return _SAID.get(variant, variant)
