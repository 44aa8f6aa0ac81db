"""Checks of arguments that several functions of the room take."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from keras_padsafe.errors import DataError


def check_count(name: str, value: Any) -> None:
    """Refuses what is no positive integer."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < 1:
        raise DataError(
            f"{name}: expected a positive integer. Received: {value!r:.60}."
        )


def check_choice(name: str, value: Any, choices: Iterable[str]) -> None:
    """Refuses what is none of `choices`."""
    if value not in choices:
        listed = ", ".join(map(repr, choices))
        raise DataError(f"{name}: expected one of {listed}. Received: {value!r:.60}.")
