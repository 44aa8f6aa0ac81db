"""The promises about imports: who may import whom, and who may not import Keras."""

import ast
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import keras_padsafe

PACKAGE = Path(keras_padsafe.__file__).parent

# The rooms from the lowest up: none imports one above it.
FLOORS = (
    (
        "errors",
        "arguments",
        "types",
        "version",
        "import_hook",
        "registration",
        "compat",
        "unicode_names",
        "figures",
        "room",
    ),
    ("facts", "archive", "ops", "initializers", "backends"),
    ("saved_model", "layers", "losses", "metrics", "data"),
    ("skeleton", "proof"),
    ("surgery",),
    ("audit",),
    ("callbacks",),
    ("cli",),
)
# Within surgery; the files of the room itself stand above its rooms.
SURGERY = ("finding", "planning", "transfer")
# The parts of surgery that run models, on the user's request and backend.
RUNS_KERAS = {
    f"{name}.py"
    for name in (
        "surgery/freeze_old_rows",
        "surgery/held_entries",
        "surgery/live_model",
        "surgery/prove",
    )
}
BACKENDS = {"keras", "tensorflow", "jax", "torch", "keras_hub"}


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{a.name}" for a in node.names}
    return found


def floor_of(parts: tuple[str, ...]) -> int | None:
    for floor, rooms in enumerate(FLOORS):
        if parts and parts[0].removesuffix(".py") in rooms:
            return floor
    return None


@pytest.mark.parametrize(
    "path",
    sorted(PACKAGE.rglob("*.py")),
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_imports_go_down_only(path: Path) -> None:
    here = floor_of(path.relative_to(PACKAGE).parts)
    if here is None or path.name == "errors.py":  # It names types that are above it.
        return
    for name in imported(path):
        there = floor_of(tuple(name.split(".")[1:])) if "padsafe" in name else None
        assert there is None or there <= here, name


@pytest.mark.parametrize("number", range(len(SURGERY)))
def test_finding_planning_transfer_go_one_way(number: int) -> None:
    above = tuple(f"keras_padsafe.surgery.{room}" for room in SURGERY[number + 1 :])
    for path in (PACKAGE / "surgery" / SURGERY[number]).rglob("*.py"):
        assert not [n for n in imported(path) if above and n.startswith(above)], path


@pytest.mark.parametrize("room", ["archive", "facts", "saved_model", "surgery"])
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


@pytest.mark.parametrize("first", ["keras_padsafe", "keras_padsafe.ops", "keras"])
def test_classes_are_registered_whichever_comes_first(first: str) -> None:
    second = "keras_padsafe" if first == "keras" else "keras"
    found = in_new_process(
        f"""
        import {first}
        import {second}
        import keras
        name = "keras_padsafe>ExtendableEmbedding"
        print(keras.saving.get_registered_object(name) is not None)
        """
    )
    assert found.strip() == "True"


@pytest.mark.parametrize("room", ["archive", "audit", "surgery"])
def test_a_name_of_a_room_wins_over_the_file_named_after_it(room: str) -> None:
    """Whichever is imported first; and an editor sees the names that Python gives."""
    tree = ast.parse((PACKAGE / room / "__init__.py").read_text(encoding="utf-8"))
    shown = {
        f"{line.module}.{line.names[0].name}"
        for line in ast.walk(tree)
        if isinstance(line, ast.ImportFrom) and line.names[0].asname
    }
    files = {place.rpartition(".")[0] for place in shown}
    script = """
        import types
        from importlib import import_module
        room = import_module("keras_padsafe.{room}")
        for file in {files}:
            import_module(file)
        for name in dir(room):
            value = getattr(room, name)
            if name in room.__all__:
                assert not isinstance(value, types.ModuleType), name
                print(f"keras_padsafe.{{room._files[name]}}.{{name}}")
    """
    for order in ([], sorted(files)):
        names = in_new_process(script.format(room=room, files=order)).split()
        assert {*names} == shown
