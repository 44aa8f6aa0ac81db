"""Junk of every type as every argument: our own error, which names the argument."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_padsafe import archive, audit, surgery
from keras_padsafe.archive import Limits, NewArray, Span
from keras_padsafe.errors import PadsafeError
from keras_padsafe.facts import rules

from .reference import only_once
from .zoo import SIZE, ids, table

pytestmark = only_once


class Opaque:
    """An object that is nothing else."""


JUNK: list[Any] = [
    None,
    -1,
    10**30,
    True,
    1.5,
    math.nan,
    b"bytes",
    "",
    "nowhere",
    "a\0b",
    "\ud800",
    ["x"],
    [None],
    [[1]],
    {"a": 1},
    {1, 2},
    Opaque(),
    np.zeros((2, 2)),
    np.array([1.5]),
    np.array([None]),
    3 + 4j,
    range(10**12),
    slice(3),
    "x" * 10**5,
]
NAMES = {
    ("RowMap", "ids"): "row_map",
    ("RowMap", "old_size"): "row_map",
    ("from_json", "document"): "plan",
}
Call = tuple[Callable[..., Any], dict[str, Any]]


@pytest.fixture(autouse=True)
def rules_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "_RULES", {**rules._RULES})


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Call]:
    """Calls that succeed; each argument becomes junk in turn."""
    folder = tmp_path_factory.mktemp("junk")
    source, grown = folder / "old.keras", folder / "new.keras"
    keras.Model(x := ids(), table(SIZE)(x)).save(source)
    plan = surgery.grow(source, grown, rows=2).plan
    plan.save(folder / "plan.json")
    opened = archive.open_archive(source)
    stored = next(iter(opened.arrays.values()))
    files = {"source": source, "target": folder / "made.keras"}
    how = {"overwrite": True, "proof": False, "progress": None}
    said = {"also": (), "leave": (), "ask": False}
    place = {"multiple_of": 1, "at": SIZE, "before": None, "pad": False}
    text = folder / "text"
    new = {"target": files["target"], "source": opened, "overwrite": True}
    return {
        "inspect": (surgery.inspect, {"path": source, **said}),
        "plan": (
            surgery.plan,
            {
                "source": source,
                "rows": 1,
                "new_rows": "mean",
                "vocabulary": "words",
                "optimizer": "keep",
                **said,
                **place,
            },
        ),
        "tokens": (surgery.plan, {"source": source, "tokens": ["a"]}),
        "grow": (surgery.grow, {**files, "rows": 1, **how}),
        "trim": (surgery.trim, {**files, "keep": [1], **how}),
        "remap": (surgery.remap, {**files, "row_map": [0, 1], **how}),
        "words": (
            surgery.plan,
            {
                "source": source,
                "old_vocabulary": [f"word {n}" for n in range(SIZE)],
                "new_vocabulary": ["word 0", "b"],
            },
        ),
        "apply_plan": (surgery.apply_plan, {"plan": plan, **files, **how}),
        "verify": (surgery.verify, {"source": source, "target": grown, "plan": plan}),
        "load": (surgery.Plan.load, {"path": folder / "plan.json"}),
        "from_json": (surgery.Plan.from_json, {"document": plan.to_json()}),
        "save": (plan.save, {"path": text, "overwrite": True}),
        "save_map": (plan.save_map, {"path": text, "overwrite": True}),
        "Rule": (surgery.Rule, {"size_key": "n", "arrays": {"vars/0": 0}}),
        "register_rule": (
            surgery.register_rule,
            {"key": "a>B", "rule": surgery.Rule("n", {})},
        ),
        "RowMap": (surgery.RowMap, {"ids": [0, 1], "old_size": 2}),
        "freeze_old_rows": (
            surgery.freeze_old_rows,
            {"source": grown, "old_size": SIZE, "train_rest": False, **said},
        ),
        "open_archive": (archive.open_archive, {"path": source, "limits": Limits()}),
        "write_archive": (
            archive.write_archive,
            {
                **new,
                "config": None,
                "metadata": None,
                "assets": {},
                "arrays": {},
                "drop": (),
                "rename": {},
                "progress": None,
                "accept": None,
            },
        ),
        "NewArray": (NewArray, {"shape": (1,), "pieces": list}),
        "Span": (Span, {"start": 0, "stop": 1, "seen": None}),
        "Limits": (Limits, {"max_members": 1, "max_depth": 1}),
        "read": (stored.read, {"start": 0, "stop": 1}),
        "decode": (archive.decode, {"stored": np.zeros(1, "f4"), "dtype": "float32"}),
        "encode": (archive.encode, {"values": np.zeros(1), "dtype": "float32"}),
        "repair": (
            audit.repair,
            {**files, "overwrite": True, "prove": False, "progress": None},
        ),
    }


@pytest.mark.parametrize(
    "name",
    [
        *("inspect", "plan", "tokens", "grow", "trim", "remap", "words"),
        *("apply_plan", "verify", "load", "from_json", "save", "save_map", "Rule"),
        *("register_rule", "RowMap", "freeze_old_rows", "open_archive", "NewArray"),
        *("write_archive", "Span", "Limits", "read", "decode", "encode", "repair"),
    ],
)
def test_junk_is_taken_for_what_it_means_or_refused_by_name(
    name: str,
    calls: dict[str, Call],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)  # Junk that is text is a name here.
    call, arguments = calls[name]
    call(**arguments)
    for argument in arguments:
        for junk in JUNK:
            refused = _refused(call, {**arguments, argument: junk})
            if isinstance(junk, str) and argument in ("source", "path", "target"):
                continue  # which the error names instead
            named = NAMES.get((name, argument), argument)
            assert refused is None or named in refused, (argument, junk)


def _refused(call: Callable[..., Any], arguments: dict[str, Any]) -> str | None:
    """The message, if it is one of ours; any other error goes through."""
    try:
        call(**arguments)
    except PadsafeError as error:
        return str(error)
    return None
