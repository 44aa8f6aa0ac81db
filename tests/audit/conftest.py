"""Audits run many small models many times: JAX compiles them quickly, not well."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def _quickly(quick_compile: None) -> None:
    """Asks for it in every module here."""
