"""The promises about imports: who may import whom, and who may not import Keras."""

import ast
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import keras_padsafe

PACKAGE = Path(keras_padsafe.__file__).parent

# Each room and the rooms that it must not import.
FORBIDDEN = {
    "ops": {"layers", "archive", "surgery", "audit", "cli", "losses", "initializers"},
    "layers": {"archive", "surgery", "audit", "cli"},
    "archive": {"ops", "layers", "surgery", "audit", "cli", "losses", "initializers"},
    "surgery": {"ops", "layers", "audit", "cli", "losses", "initializers"},
    "facts": {
        "ops",
        "layers",
        "archive",
        "saved_model",
        "surgery",
        "proof",
        "audit",
        "cli",
    },
    "saved_model": {"ops", "layers", "surgery", "proof", "audit", "cli", "losses"},
    "proof": {"surgery", "audit", "cli", "losses", "initializers"},
    "audit": {"layers", "cli", "losses", "initializers"},
}
# The parts of surgery that run models, on the user's request and backend.
RUNS_KERAS = {f"{name}.py" for name in ("surgery/live_model", "surgery/prove")}
BACKENDS = {"keras", "tensorflow", "jax", "torch", "keras_hub"}


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{a.name}" for a in node.names}
    return found


@pytest.mark.parametrize("room", sorted(FORBIDDEN))
def test_imports_go_one_way(room: str) -> None:
    forbidden = {f"keras_padsafe.{name}" for name in FORBIDDEN[room]}
    for path in (PACKAGE / room).rglob("*.py"):
        against = {
            name
            for name in imported(path)
            if any(name == f or name.startswith(f"{f}.") for f in forbidden)
        }
        assert not against, f"{path.name} imports {against}"


@pytest.mark.parametrize("room", ["archive", "surgery"])
def test_surgery_names_no_backend(room: str) -> None:
    for path in (PACKAGE / room).rglob("*.py"):
        if str(path.relative_to(PACKAGE)) not in RUNS_KERAS:
            roots = {name.partition(".")[0] for name in imported(path)}
            assert not roots & BACKENDS, f"{path.name} imports {roots & BACKENDS}"


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.stem)
def test_only_compat_uses_private_keras(path: Path) -> None:
    if path.name != "compat.py":
        assert not {n for n in imported(path) if n.startswith("keras.src")}


def in_new_process(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_us_does_not_import_keras() -> None:
    loaded = in_new_process(
        """
        import sys
        import keras_padsafe as kp
        kp.surgery, kp.archive
        print(sorted({"keras", "tensorflow", "jax", "torch"} & set(sys.modules)))
        """
    )
    assert loaded.strip() == "[]"


@pytest.mark.parametrize("first", ["keras_padsafe", "keras"])
def test_classes_are_registered_whichever_comes_first(first: str) -> None:
    second = {"keras", "keras_padsafe"} - {first}
    found = in_new_process(
        f"""
        import {first}
        import {second.pop()}
        import keras
        name = "keras_padsafe>ExtendableEmbedding"
        print(keras.saving.get_registered_object(name) is not None)
        """
    )
    assert found.strip() == "True"


def test_public_names_of_surgery_are_functions() -> None:
    """Modules are named after what they hold and must not shadow it."""
    for name in ("inspect", "plan", "grow", "remap", "trim", "verify", "apply_plan"):
        assert callable(getattr(keras_padsafe.surgery, name)), name
