"""The forms in which `fit` takes data, and the one that this room works on."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from keras_padsafe.errors import DataError

PARTS = ("x", "y", "sample_weight")

Key = tuple[str, str | None]
"""Where an array belongs: one of `PARTS`, and its name there if there are several."""


def file(parts: Sequence[Any]) -> dict[Key, Any]:
    """Files the values of `(x, y, sample_weight)`, or of less, under their keys."""
    found: dict[Key, Any] = {}
    for part, values in zip(PARTS, parts, strict=False):
        if isinstance(values, Mapping):
            found |= {(part, name): value for name, value in values.items()}
        elif values is not None:
            found[part, None] = values
    return found


def assemble(values: Mapping[Key, Any]) -> tuple[Any, ...]:
    """Undoes `file`."""
    found: dict[str, Any] = {}
    for (part, name), value in values.items():
        if name is None:
            found[part] = value
        else:
            found.setdefault(part, {})[name] = value
    return tuple(found[part] for part in PARTS if part in found)


def examples_of(x: Any, y: Any, sample_weight: Any) -> Iterator[tuple[Any, ...]]:
    """Takes sequences, labels and weights that lie side by side apart."""
    columns = file((x, y, sample_weight))
    for (part, _), values in columns.items():
        if not hasattr(values, "__len__") or getattr(values, "ndim", 1) == 0:
            raise DataError(
                f"{part}: expected a list, with an entry for each sequence. Received: "
                f"{type(values).__name__}. For a generator, use `SequenceStream`."
            )
    counts = {key: len(values) for key, values in columns.items()}
    if len({*counts.values()}) != 1 or 0 in counts.values():
        listed = ", ".join(f"{count} in {part}" for (part, _), count in counts.items())
        raise DataError(
            "Expected at least one sequence, and as many entries everywhere as there "
            f"are sequences. Received: {listed or 'nothing'}."
        )
    for values in zip(*columns.values(), strict=True):
        yield assemble(dict(zip(columns, values, strict=True)))


def parts_of(element: Any) -> tuple[Any, ...]:
    """The parts of an element of a stream; PyTorch makes lists of tuples."""
    if isinstance(element, list) and element:
        first = element[0]
        if isinstance(first, Mapping) or getattr(first, "shape", ()) != ():
            return tuple(element)
    return element if isinstance(element, tuple) else (element,)


def by_name(value: Any, name: str | None, argument: str) -> Any:
    """What an argument says of this name, if it is a mapping; else what it says."""
    if not isinstance(value, Mapping):
        return value
    if name not in value:
        raise DataError(
            f"{argument}: expected an entry for each name. Received: none for {name!r}."
        )
    return value[name]
