"""Plain data read as dataclasses: the type hints of their fields say what fits."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import MISSING, fields, is_dataclass
from math import isfinite
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from keras_padsafe.errors import SurgeryError
from keras_padsafe.saved_model.malformed import is_count, shortly

_TOLD: dict[Any, str] = {
    str: "text",
    bool: "true or false",
    int: "a number that counts or names ids",
    float: "a finite number",
    NoneType: "null",
}


def expect(fits: bool, place: str, expected: str, received: Any) -> None:
    """Refuses what does not fit in a plan."""
    if not fits:
        raise SurgeryError(
            f"plan: {place} is {shortly(received)}. Expected: {expected}. The plan is "
            "incomplete or altered; make it again."
        )


def read_as(kind: Any, value: Any, place: str, number: str = "") -> Any:
    """A value as a type hint has it, lists as tuples.

    An `int` counts or names something, unless a text may stand in its place. `number`
    is that of the value in a list at `place`; what lies within it is named by both.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if isinstance(kind, type) and is_dataclass(kind):
        given = vars(value) if isinstance(value, kind) else value
        known = {f.name: f.type if f.compare else Any for f in fields(kind)}
        needed = {
            f.name for f in fields(kind) if MISSING is f.default is f.default_factory
        }
        fits = isinstance(given, dict) and needed <= given.keys() <= known.keys()
        expect(fits, place or "the document", _told(kind), value)
        return kind(
            **{
                name: read_as(known[name], item, f"{place}{number}.{name}".lstrip("."))
                for name, item in given.items()
            }
        )
    if origin is tuple and isinstance(value, list | tuple):
        each = enumerate(value)
        return tuple(read_as(inner[0], item, place, f"[{n}]") for n, item in each)
    if origin in (Union, UnionType):
        if {str, int} <= {*inner} and type(value) is int:
            return value
        for arm in inner:
            with suppress(SurgeryError):
                return read_as(arm, value, place, number)
        expect(False, place, _told(kind), value)
    expect(_fits(kind, value), place, _told(kind), value)
    return value


def _fits(kind: Any, value: Any) -> bool:
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return True
    if origin is Literal:
        return isinstance(value, str) and value in inner
    if origin in (dict, Mapping):
        return isinstance(value, Mapping) and all(
            _fits(inner[0], key) and _fits(inner[1], item)
            for key, item in value.items()
        )
    if kind is int:
        return is_count(value)
    if isinstance(value, bool):
        return kind is bool
    if kind is float:
        return isinstance(value, int | float) and isfinite(value)
    return origin is not tuple and isinstance(value, kind)


def _told(kind: Any) -> str:
    if is_dataclass(kind):
        return f"a document with {', '.join(field.name for field in fields(kind))}"
    if get_origin(kind) is Literal:
        return ", ".join(map(repr, get_args(kind)))
    if get_origin(kind) is tuple:
        return "a list"
    return _TOLD.get(kind) or " or ".join(map(_told, get_args(kind))) or kind.__name__
