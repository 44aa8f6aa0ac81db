"""Says which backend runs, starts tests alike, and compiles small models fast."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# JAX keeps what it compiled: many tests compile alike. Set before it is imported.
_compiled = Path(__file__).resolve().parent.parent / ".pytest_cache" / "jax"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_compiled))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--all-notebooks",
        action="store_true",
        help="run every notebook on this backend, not its share of them alone",
    )


def pytest_report_header() -> str:
    return f"KERAS_BACKEND={os.environ.get('KERAS_BACKEND', '(unset)')}"


@pytest.fixture(autouse=True)
def _seed() -> None:
    np.random.seed(0)


@pytest.fixture(scope="module", autouse=True)
def _first_names() -> None:
    """Lets no layer's name (`dense_7`) depend on the files that were tested before."""
    if "keras" in sys.modules:
        sys.modules["keras"].utils.clear_session(free_memory=False)


@pytest.fixture(scope="module")
def quick_compile() -> Iterator[None]:
    """Lets JAX compile the many operations of many small models in less time."""
    import keras

    if keras.backend.backend() != "jax":
        yield
        return
    import jax

    name = "jax_disable_most_optimizations"
    before = jax.config.values[name]
    jax.config.update(name, True)
    yield
    jax.config.update(name, before)
