"""What is not known of a file, and how to say what settles it."""

from dataclasses import dataclass
from typing import Any

from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.saved_model.word_lists import first_id_in, has_entries


@dataclass(frozen=True)
class Doubt:
    """Something that may or may not belong to the vocabulary.

    Attributes:
        place: The layer or array.
        problem: What is not known of it.
        remedy: What to do about it, with the flags that settle it.
        counts: Whether only the number of ids matters to it.
        of_new: Whether only new ids do.
    """

    place: str
    problem: str
    remedy: str
    counts: bool = False
    of_new: bool = False

    def to_json(self) -> dict[str, str]:
        """The doubt as plain data."""
        return {n: getattr(self, n) for n in ("place", "problem", "remedy")}

    def __str__(self) -> str:
        return f"{self.problem}. {self.remedy}."


def doubt_of(layer: LayerNode, problem: str, remedy: str) -> Doubt:
    """What is not known of a layer; the sentence begins with its class and name."""
    what = f"{layer.title} {problem}"
    return Doubt(layer.name, what, remedy)


_APART, _MOST_OFF = 7, 4  # With few ids chance makes any number near.


def near(size: int, most: int = _MOST_OFF) -> tuple[int, ...]:
    """Numbers that may count the ids: special ones may be left out, or come beside.

    The larger the vocabulary, the more of them, up to `most` off.
    """
    off = min(size // _APART, most)
    return (*range(size, size - off - 1, -1), *range(size + 1, size + off + 1))


def how_near(units: int, ids: int) -> str:
    """A number that is near, in words."""
    gap = abs(units - ids)
    by = "one" if gap == 1 else str(gap)
    how = f"{by} more than" if units > ids else f"{by} fewer than"
    return f"{how if gap else 'as many as'} there are ids"


def lacking(units: int, ids: int) -> str:
    """How a claim ends that has no entry for some ids."""
    missing = ids - units
    return "::" + ",".join(["ID"] * missing) if missing > 0 else ""


IN_KERAS = "It cannot be grown in the file: grow it in Keras"
"""The remedy where no flag is one."""


def leaving(name: str) -> str:
    """How a remedy begins that leaves a layer alone."""
    return f"Add --leave {name} (leave='{name}')"


def adding(claim: str) -> str:
    """How a remedy begins that says what belongs to the vocabulary."""
    return f"Add --also {claim} (also='{claim}')"


def settling(place: str, *claims: str) -> str:
    """What a user says to settle whether axes belong to the vocabulary."""
    flags = " ".join(f"--also {claim}" for claim in claims)
    said = list(claims) if len(claims) > 1 else f"'{''.join(claims)}'"
    return (
        f"Add {flags} (also={said}) if it belongs to the vocabulary, "
        f"--leave {place} (leave='{place}') if not"
    )


OF_EACH = "which may have an entry for each id"


def settling_list(flag: str, entries: Any, ids: int) -> str:
    """What a user says of a list that may have an entry for each id."""
    leave = f"{leaving(flag)} if it has not, or if you set it anew in Keras"
    if first_id_in(entries, ids) is not None:
        return f"{adding(flag)} if it lists their words. {leave}"
    if has_entries(entries, ids):
        claim = f"{flag}=ENTRY"
        return f"{adding(claim)} with the entry of each new id, if it has. {leave}"
    return leave
