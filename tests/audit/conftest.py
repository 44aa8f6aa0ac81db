"""Audits run many small models many times: JAX compiles them quickly, not well."""

from collections.abc import Iterator

import keras
import pytest


@pytest.fixture(scope="module", autouse=True)
def _quickly(quick_compile: None) -> None:
    """Asks for it in every module here."""


@pytest.fixture(autouse=True)
def jax_compiles_afterwards() -> Iterator[None]:
    """An audit leaves JAX as it found it."""
    yield
    if keras.backend.backend() == "jax":
        import jax

        assert not jax.config.jax_disable_jit
