"""The files that a Keras model consists of, and the names that they may have."""

from collections.abc import Iterable

from keras_padsafe.archive.limits import Limits
from keras_padsafe.archive.refusal import BrokenRule

METADATA, CONFIG, WEIGHTS = "metadata.json", "config.json", "model.weights.h5"
ASSETS = "assets/"
_FORBIDDEN = ("\\", ":", "\0")


def check_member_names(names: list[str], limits: Limits) -> None:
    """Refuses names of members that Keras never writes.

    A name must stay inside the archive wherever it is unpacked, and no two names
    may differ by case alone.
    """
    check_apart(names, limits)
    for name in names:
        if name not in (METADATA, CONFIG, WEIGHTS) and not name.startswith(ASSETS):
            raise BrokenRule(
                f"member {name!r} is none that Keras writes",
                "Remove it, or save the model again with Keras.",
            )


def check_apart(names: Iterable[str], limits: Limits) -> None:
    """Refuses names that two systems may take for two different files.

    A name must stay inside the archive wherever it is unpacked, and no two names
    may differ by case alone.
    """
    seen: set[str] = set()
    for name in names:
        if len(name.encode("utf-8", "surrogatepass")) > limits.max_name_bytes:
            raise BrokenRule(f"a member's name is longer than {limits.max_name_bytes}")
        parts = name.removesuffix("/").split("/")
        if any(sign in name for sign in _FORBIDDEN) or not {"", ".", ".."}.isdisjoint(
            parts
        ):
            raise BrokenRule(f"member name {name!r} could lead outside the archive")
        if name.casefold() in seen:
            raise BrokenRule(f"two members are called {name!r}")
        seen.add(name.casefold())
