"""Runs a test file of Keras's own against a class of ours.

Keras ships its tests in its wheel. Each refers to the class under test through a
module (`layers.Attention`), so a stand-in for that module is all it takes.
"""

import functools
import importlib
from types import ModuleType
from typing import Any

import pytest


class _StandIn:
    """A module in which some names lead elsewhere."""

    def __init__(self, module: ModuleType, classes: dict[str, type]) -> None:
        self._module = module
        self.__dict__.update(classes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


def keras_tests(
    test_module: str,
    test_class: str,
    classes: dict[str, type],
    differences: dict[str, str],
    through: str = "layers",
) -> type:
    """Returns a test class of Keras that tests our classes.

    Args:
        test_module: Where it lies, e.g. "layers.attention.attention_test".
        test_class: Its name.
        classes: Our class for each name of Keras's.
        differences: Tests that must fail, since we differ on purpose, with the
            reason. One that passes is an error: the list may not grow stale.
        through: The module through which the test file refers to the class.
    """
    module = importlib.import_module(f"keras.src.{test_module}")
    stand_in = _StandIn(getattr(module, through), classes)
    setattr(module, through, stand_in)
    theirs = getattr(module, test_class)
    expected = {
        name: _must_fail(getattr(theirs, name), reason)
        for name, reason in differences.items()
    }
    ours = type(test_class, (theirs,), expected)
    return pytest.mark.filterwarnings("ignore")(ours)


def _must_fail(test: Any, reason: str) -> Any:
    @functools.wraps(test)
    def run(self: Any) -> None:
        test(self)

    return pytest.mark.xfail(reason=reason, strict=True)(run)
