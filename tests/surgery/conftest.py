"""Lets JAX compile the many operations of many small models in less time."""

from collections.abc import Iterator

import keras
import pytest


@pytest.fixture(scope="module")
def quick_compile() -> Iterator[None]:
    if keras.backend.backend() != "jax":
        yield
        return
    import jax

    name = "jax_disable_most_optimizations"
    before = jax.config.values[name]
    jax.config.update(name, True)
    yield
    jax.config.update(name, before)
