"""JSON that means one thing: strict UTF-8, no repeated key, bounded depth."""

import json
import re
from itertools import accumulate
from typing import Any

from keras_padsafe.archive.limits import Limits
from keras_padsafe.archive.refusal import BrokenRule, refusing

# All that stands between brackets; those in a string do not nest. The last string may
# not be closed.
_REST = re.compile(rb'(?:[^"\[\]{}]++|"(?:[^"\\]++|\\.)*+(?:"|\\?\Z))++', re.DOTALL)
_STEPS = dict(zip(b"[{]}", (1, 1, -1, -1), strict=True))


def parse_object(name: str, text: bytes, limits: Limits) -> dict[str, Any]:
    """The one JSON object that `text` holds.

    Args:
        name: The file, for error messages.
        text: UTF-8 without a byte order mark.
        limits: Bounds on size, depth and digits.
    """
    with refusing(name):
        if len(text) > limits.max_json_bytes:
            raise BrokenRule(
                f"it has {len(text)} bytes, the limit is {limits.max_json_bytes}",
                "If you trust the file, raise `Limits.max_json_bytes`.",
            )
        _check_values(text, limits.max_json_values)
        _check_depth(text, limits.max_json_depth)
        value = _parse(text, limits)
        if not isinstance(value, dict):
            raise BrokenRule(f"it must hold a JSON object, not {_kind(value)}")
        _check_surrogates(text, value)
        return value


def _parse(text: bytes, limits: Limits) -> Any:
    if text.startswith(b"\xef\xbb\xbf"):
        raise BrokenRule("it starts with a byte order mark")
    try:
        return json.loads(
            text.decode("utf-8"),
            object_pairs_hook=_unique_keys,
            parse_int=lambda digits: _bounded_int(digits, limits.max_json_digits),
        )
    except json.JSONDecodeError as error:
        raise BrokenRule(f"it is not valid JSON ({error})") from None
    except UnicodeDecodeError as error:
        raise BrokenRule(f"it is not UTF-8 (byte {error.start})") from None


def _check_depth(text: bytes, max_depth: int) -> None:
    """Json would recurse; we count first."""
    brackets = _REST.sub(b"", text)
    depths = accumulate(map(_STEPS.__getitem__, brackets))
    if max(depths, default=0) > max_depth:
        raise BrokenRule(f"its brackets nest deeper than {max_depth}")


def _check_values(text: bytes, most: int) -> None:
    """Each value takes memory, be it two bytes in the file."""
    if sum(map(text.count, (b",", b"[", b"{"))) > most:
        raise BrokenRule(
            f"it holds more than {most} values",
            "If you trust the file, raise `Limits.max_json_values`.",
        )


def _check_surrogates(text: bytes, value: Any) -> None:
    r"""Refuses half of a surrogate pair (`\ud800` alone): it is no character."""
    if b"\\ud" in text or b"\\uD" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            raise BrokenRule("a string holds half of a surrogate pair") from None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) < len(pairs):
        seen: set[str] = set()
        repeated = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise BrokenRule(f"the key {repeated!r} appears twice in one object")
    return unique


def _bounded_int(digits: str, max_digits: int) -> int:
    if len(digits) > max_digits:
        raise BrokenRule(f"an integer has {len(digits)} digits")
    return int(digits)


def _kind(value: Any) -> str:
    return {list: "an array", str: "a string", type(None): "null"}.get(
        type(value), "a number"
    )
