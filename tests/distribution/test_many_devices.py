"""Many devices give what one gives, on each backend's own engine."""

import os
import subprocess
import sys

import keras

SCRIPTS = {
    "jax": "jax_mesh",
    "tensorflow": "tensorflow_mirrored",
    "torch": "torch_data_parallel",
}


def test_many_devices_give_what_one_gives() -> None:
    script = SCRIPTS[keras.backend.backend()]
    flags = "--xla_force_host_platform_device_count=8"
    done = subprocess.run(
        [sys.executable, "-m", f"tests.distribution.{script}"],
        env={**os.environ, "XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        timeout=300,  # Its own limit ends before that of the lane (pyproject.toml).
        check=False,
    )
    assert done.returncode == 0, done.stderr
