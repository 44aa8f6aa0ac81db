"""JSON that two readers could read in two ways is refused."""

import json
import tracemalloc

import pytest

from keras_padsafe.archive.limits import Limits
from keras_padsafe.archive.strict_json import parse_object
from keras_padsafe.errors import ArchiveError


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "not valid JSON"),
        (b'{"a": 1} x', "not valid JSON"),
        (b'{"a": 1', "not valid JSON"),
        (b"[1]", "JSON object, not an array"),
        (b"null", "JSON object, not null"),
        (b'\xef\xbb\xbf{"a": 1}', "byte order mark"),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
        (b'{"a": "\xff"}', r"not UTF-8 \(byte 7\)"),
        (b'{"a": {"b": 1, "c": 2, "b": 3}}', "'b' appears twice"),
        (b'{"a": ' + b"9" * 101 + b"}", "integer has 101 digits"),
        (b'{"a": ' + b"[" * 200 + b"]" * 200 + b"}", "nest deeper than 200"),
        (b'{"a":' * 100_000, "nest deeper than 200"),
        (b'{"a": "\\ud800"}', "half of a surrogate pair"),
    ],
)
def test_refused(text: bytes, message: str) -> None:
    with pytest.raises(ArchiveError, match=rf"^config\.json: .*{message}"):
        parse_object("config.json", text, Limits())


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"a": [1, 2.5, -1e-300, None, True, 'größer \U0001f600 \\ " [']},
        {"inf": float("inf")},
        {"brackets in a string": "[" * 1000},
        {"deep": json.loads("[" * 199 + "]" * 199)},
    ],
)
def test_accepted(value: object) -> None:
    text = json.dumps(value).encode()
    assert parse_object("config.json", text, Limits()) == value


def test_size_limit() -> None:
    with pytest.raises(ArchiveError, match=r"raise `Limits.max_json_bytes`"):
        parse_object("config.json", b'{"a": 12345}', Limits(max_json_bytes=5))


def test_unclosed_strings_take_linear_time() -> None:
    with pytest.raises(ArchiveError, match="not valid JSON"):
        parse_object("config.json", b'{"' + b'\\"' * 5_000_000, Limits())


def test_many_short_strings_take_little_memory_beside_the_result() -> None:
    """What stands between the brackets is not taken apart string by string."""
    text = b'{"a": ["", ' + b'"", ' * 500_000 + b'""]}'
    tracemalloc.start()
    kept = parse_object("config.json", text, Limits())
    size, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(kept["a"]) == 500_002
    assert peak < size + 3 * len(text)
