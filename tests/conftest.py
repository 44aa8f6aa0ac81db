"""Says which backend runs, and seeds every test alike."""

import os

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("JAX_PLATFORMS", "cpu")


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
