"""Places of config.json."""

from collections.abc import Callable, Collection, Iterator
from typing import Any

ConfigPath = tuple[str | int, ...]
"""The keys that lead to a value of config.json."""


def value_at(value: Any, path: ConfigPath) -> Any:
    """What lies at a place below a value."""
    for key in path:
        value = value[key]
    return value


def walk_values(
    value: Any, path: ConfigPath = (), into: Callable[[Any], bool] = bool
) -> Iterator[tuple[ConfigPath, Any]]:
    """A value and all that lies below it, each with its place, outermost first.

    `into` says whether what lies below a value counts.
    """
    yield path, value
    if isinstance(value, dict) and into(value):
        for key, inner in value.items():
            yield from walk_values(inner, (*path, key), into)
    elif isinstance(value, list) and into(value):
        for index, inner in enumerate(value):
            yield from walk_values(inner, (*path, index), into)


def is_object(value: Any) -> bool:
    """Whether a value describes an object, as a layer or a tensor."""
    return isinstance(value, dict) and "class_name" in value


def places_of(key: str, value: Any, path: ConfigPath = ()) -> Iterator[ConfigPath]:
    """The places below a value that people write so: `sizes[2].words`.

    A key may hold dots itself.
    """
    if not key:
        yield path
    steps = enumerate(value) if isinstance(value, list) else ()
    for step, inner in value.items() if isinstance(value, dict) else steps:
        written = config_key((step,))
        rest = key.removeprefix(written)
        if rest != key and (not rest or rest[0] in ".["):
            yield from places_of(rest.removeprefix("."), inner, (*path, step))


def lies_in(place: ConfigPath, places: Collection[ConfigPath]) -> bool:
    """Whether it is one of some places, or within one."""
    return any(place[:end] in places for end in range(len(place) + 1))


def config_key(path: ConfigPath) -> str:
    """A path of config.json as people write it: `config.layers[1].config.units`."""
    text = ""
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}"
    return text.removeprefix(".")
