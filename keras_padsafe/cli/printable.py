"""Text of a file, made safe for a terminal."""

from typing import Any


def printable(value: Any) -> Any:
    r"""Plain data with every control character in its strings spelled out.

    A model file can come from anywhere; a layer name in it must not move the cursor
    or recolour the screen. Line breaks stay.

    Example:

    >>> from keras_padsafe.cli.printable import printable
    >>> printable({"name": "table\x1b[2J"})
    {'name': 'table\\x1b[2J'}
    """
    if isinstance(value, str):
        return "".join(_sign(sign) for sign in value)
    if isinstance(value, dict):
        return {printable(key): printable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [printable(item) for item in value]
    return value


def _sign(sign: str) -> str:
    if sign.isprintable() or sign == "\n":
        return sign
    return sign.encode("unicode_escape").decode("ascii")
