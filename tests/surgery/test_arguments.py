"""Arguments of every type: accepted for what they mean, or refused in words."""

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import keras_padsafe as kp
from keras_padsafe.errors import PadsafeError, SurgeryError
from keras_padsafe.surgery.planning.new_rows import NewRows

from .reference import only_once, save
from .zoo import DIM, SIZE, ids, table

pytestmark = only_once
MANY = 10**12


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("arguments") / "old.keras"
    save(
        lambda size: keras.Model(x := ids(), layers.Dense(size)(table(size)(x))),
        SIZE,
        path,
    )
    return path


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "rows": ({"rows": MANY}, "rows: received 1000000000000. Expected: at most"),
    "multiple_of": ({"rows": 1, "multiple_of": MANY}, "multiple_of: .* at most"),
    "rounded": ({"rows": (1 << 28) - 5, "multiple_of": 7}, "at most 268435456"),
    "seed": ({"rows": 1, "new_rows": "normal:-1"}, "new_rows: 'normal:-1'"),
    "constant": ({"rows": 1, "new_rows": 10**400}, "expected a finite constant"),
    "ragged_rows": ({"rows": 2, "new_rows": [[1], [1, 2]]}, "all rows equally long"),
    "kind": ({"rows": 1, "new_rows": NewRows("banana")}, "received kind 'banana'"),
    "value": ({"rows": 1, "new_rows": NewRows("constant", 1e999)}, "finite constant"),
    "ragged_map": ({"row_map": [[0], [1, 2]]}, r"row_map: received \[\[0\], \[1, 2"),
    "number_as_map": ({"row_map": 5}, "row_map: received 5. Expected: a vector"),
    "endless_map": ({"row_map": range(MANY)}, "received 1000000000000 new ids"),
    "unsigned_map": (
        {"row_map": np.array([0, 2**64 - 1], np.uint64)},
        "old id 18446744073709551615",
    ),
    "odd_digit": ({"rows": 1, "also": ["words:²"]}, "'words:²' is not understood"),
    "number_as_also": ({"rows": 1, "also": [5]}, "also: expected texts.*received 5"),
    "number_as_leave": ({"rows": 1, "leave": 5}, "leave: expected texts.*received 5"),
    "axis": ({"rows": 1, "also": ["words:7"]}, r"no array of 'words' has an axis 7"),
    "key": ({"rows": 1, "also": "words:0:dim"}, "no configuration key 'dim'.*holds 13"),
    "wrong_key": ({"rows": 1, "also": "words:0:output_dim"}, "'output_dim'.*holds 13"),
    "keep": ({"keep": [[1]]}, r"keep: \[1\] is not a string or an integer"),
    "keep_bool": ({"keep": [True]}, "keep: True is not"),
    "tokens": ({"tokens": [[1]]}, "tokens: .*is not a string"),
    "words": (
        {"old_vocabulary": [["a"]], "new_vocabulary": ["a"]},
        "old_vocabulary: .* is not a string",
    ),
    "rounded_map": ({"row_map": [0], "multiple_of": 8}, "multiple_of: `row_map` says"),
    "rounded_keep": ({"keep": [0], "multiple_of": 8}, "multiple_of: `keep` says"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, source: Path) -> None:
    arguments, message = REFUSED[name]
    with pytest.raises(SurgeryError, match=f"(?s){message}"):
        kp.surgery.plan(source, **arguments)


@pytest.mark.parametrize(
    ("call", "typed", "near"),
    [
        (kp.surgery.grow, "row", "rows"),
        (kp.surgery.grow, "overwite", "overwrite"),
        (kp.surgery.trim, "keeps", "keep"),
        (kp.surgery.remap, "rowmap", "row_map"),
        (kp.surgery.refill, "evicts", "evict"),
        (kp.surgery.plan, "vocab", "vocabulary"),
        (kp.surgery.freeze_old_rows, "leaves", "leave"),
        (kp.surgery.trim, "pad", None),
        (kp.surgery.plan, "overwrite", None),
    ],
)
def test_an_unknown_keyword(
    call: Callable[..., Any], typed: str, near: str | None
) -> None:
    with pytest.raises(SurgeryError) as caught:
        call("old.keras", **{typed: 1})
    told = str(caught.value)
    assert told.startswith(f"{call.__name__}: it takes no keyword {typed!r}.")
    assert (f"Do you mean {near!r}?" in told) == (near is not None)
    assert "vocabulary, also, leave, ask" in told


def test_all_that_take_options_know_their_keywords() -> None:
    for name in kp.surgery.__all__:
        call = getattr(kp.surgery, name)
        if inspect.isfunction(call) and "**options" in str(inspect.signature(call)):
            with pytest.raises(SurgeryError, match=f"{name}: it takes no keyword"):
                call("old.keras", nothing=1)


@pytest.mark.parametrize("rows", [np.int64(3), np.uint8(3)])
def test_counts_of_numpy(rows: Any, source: Path) -> None:
    assert kp.surgery.plan(source, rows=rows).new_size == SIZE + 3


def test_numbers_and_words_of_numpy(source: Path) -> None:
    words: Any = np.array(["a", "b"])
    plan = kp.surgery.plan(source, tokens=words, new_rows=np.float32(1))
    assert plan.tokens == {"a": SIZE, "b": SIZE + 1}
    assert all(type(token) is str for token in plan.tokens)
    ids_: Any = np.array([0, 3])
    assert kp.surgery.plan(source, keep=ids_).new_size == 2


def test_one_claim_as_text(source: Path) -> None:
    one = kp.surgery.plan(source, rows=1, also="words:0", leave="dense")
    many = kp.surgery.plan(source, rows=1, also=["words:0"], leave=["dense"])
    assert one.to_json() == many.to_json()


@pytest.mark.parametrize("path", [None, 5, b"old.keras", "a\0b"])
def test_no_path(path: Any, source: Path, tmp_path: Path) -> None:
    plan = kp.surgery.plan(source, rows=1)
    for operate in (
        lambda: kp.surgery.plan(path, rows=1),
        lambda: kp.surgery.inspect(path),
        lambda: kp.surgery.grow(path, tmp_path / "new.keras", rows=1),
        lambda: kp.surgery.grow(source, path, rows=1),
        lambda: kp.surgery.apply_plan(plan, path, tmp_path / "new.keras"),
        lambda: kp.surgery.apply_plan(plan, source, path),
    ):
        with pytest.raises(PadsafeError, match=r"expected .*received"):
            operate()


@pytest.mark.parametrize(
    ("argument", "value"),
    [("progress", 5), ("overwrite", 1), ("overwrite", "no"), ("proof", "yes")],
)
def test_how_a_file_is_written(
    argument: str, value: Any, source: Path, tmp_path: Path
) -> None:
    target = tmp_path / "new.keras"
    plan = kp.surgery.plan(source, rows=1)
    for operate in (
        lambda: kp.surgery.grow(source, target, rows=1, **{argument: value}),
        lambda: kp.surgery.apply_plan(plan, source, target, **{argument: value}),
    ):
        with pytest.raises(SurgeryError, match=rf"^{argument}: expected .*received"):
            operate()
    assert not target.exists()


@pytest.mark.parametrize("path", [5, None, b"plan.json", 1.5])
def test_no_path_of_a_plan(path: Any, source: Path) -> None:
    plan = kp.surgery.plan(source, rows=1)
    for operate in (lambda: kp.surgery.Plan.load(path), lambda: plan.save(path)):
        with pytest.raises(SurgeryError, match=r"path: expected .*received"):
            operate()
    with pytest.raises(SurgeryError, match=r"expected .*received"):
        kp.surgery.verify(path, source)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes of Unix")
def test_a_pipe_is_no_plan(tmp_path: Path) -> None:
    """Else it would wait for ever."""
    os.mkfifo(tmp_path / "plan.json")
    with pytest.raises(SurgeryError, match="not a regular file"):
        kp.surgery.Plan.load(tmp_path / "plan.json")


def test_command_line_exits_with_2(source: Path) -> None:
    pytest.importorskip("click")
    from click.testing import CliRunner

    from keras_padsafe.cli import main

    done = CliRunner().invoke(main, ["plan", str(source), "--rows", str(MANY)])
    assert done.exit_code == 2
    assert "at most" in done.output


def test_row_of_given_numbers_must_be_as_wide_as_the_table(source: Path) -> None:
    with pytest.raises(SurgeryError, match=r"Expected: \(1, 4\)"):
        kp.surgery.plan(source, rows=1, new_rows=np.ones((1, DIM + 1)))
