"""What is wrong with saved weights is found, and nothing is where all is well."""

import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers

import keras_padsafe as kp
from keras_padsafe.audit import AuditReport, check_weights
from keras_padsafe.errors import ArchiveError, SurgeryError

from ..archive.zoo import keras_may_warn
from ..surgery.reference import only_once, save
from ..surgery.saved import read
from ..surgery.test_optimizer_slots import KNOWN, UNKNOWN
from ..surgery.zoo import CASES, SIZE, Case

DTYPES = ("float16", "bfloat16", "float32", "float64")
ROWS, WIDTH = 40, 16
Fill = Callable[[np.ndarray], Any]


# JAX has no float64 unless told so when it starts.
HAS_FLOAT64 = keras.backend.backend() != "jax"
FLOATS = [dtype for dtype in DTYPES if dtype != "float64" or HAS_FLOAT64]
HEALTHY = [case for case in CASES if case.name != "float64" or HAS_FLOAT64]


def codes(report: AuditReport) -> list[str]:
    return [finding.code for finding in report]


def only(report: AuditReport, code: str) -> Any:
    (found,) = [finding for finding in report if finding.code == code]
    return found


def model_of(dtype: str = "float32", **kwargs: Any) -> keras.Model:
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input((6,), dtype="int32"),
            layers.Embedding(ROWS, WIDTH, name="words", dtype=dtype, **kwargs),
            layers.GlobalAveragePooling1D(dtype=dtype),
            layers.Dense(2, dtype=dtype),
        ]
    )


def saved(path: Path, change: Fill | None = None, **kwargs: Any) -> Path:
    """A saved model whose table was changed."""
    model = model_of(**kwargs)
    table = np.asarray(keras.ops.convert_to_numpy(model.weights[0])).copy()
    if change is not None:
        change(table)
        model.weights[0].assign(table)
    model.save(path)
    return path


def spoil(table: np.ndarray) -> None:
    table[3, 2], table[3, 5], table[39, 15] = np.nan, -np.inf, np.inf


@only_once
@pytest.mark.parametrize("case", HEALTHY, ids=lambda case: case.name)
def test_a_fresh_model_is_healthy(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "fresh.keras"
    save(case.build, SIZE, path)
    report = check_weights(path)
    assert report.passed, str(report)
    assert not {"PS202", "PS203", "PS205"} & set(codes(report)), str(report)


def test_a_table_of_another_size_than_its_layer_says(tmp_path: Path) -> None:
    path, edited = tmp_path / "whole.keras", tmp_path / "edited.keras"
    model_of().save(path)
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(edited, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                counted = f'"input_dim": {ROWS},'.encode()
                assert counted in content
                content = content.replace(counted, b'"input_dim": 1%s,' % (b"0" * 99))
            new.writestr(name, content)
    report = check_weights(edited)
    assert not report.passed
    finding = only(report, "PS206")
    assert finding.place == "layers/embedding/vars/0"
    assert finding.evidence["shape"] == [ROWS, WIDTH]
    assert len(finding.message) < 300
    assert "Keras cannot load" in finding.message


@pytest.mark.parametrize("mode", ["int8", "int4"])
@pytest.mark.parametrize("tied", [True, False])
def test_a_quantised_table_is_as_large_as_it_says(
    mode: str, tied: bool, tmp_path: Path
) -> None:
    words = layers.ReversibleEmbedding(ROWS, WIDTH, tie_weights=tied)
    model = keras.Sequential([keras.Input((6,), dtype="int32"), words])
    words.quantize(mode)
    model.save(tmp_path / "small.keras")
    assert "PS206" not in codes(check_weights(tmp_path / "small.keras"))


SEEN = [1, 2, 5, 8, 13, 21, 34]


def train(optimizer: Any, **kwargs: Any) -> keras.Model:
    model = model_of(**kwargs)
    model.compile(optimizer, "mse", run_eagerly=True)
    x = np.array([SEEN[:6], [*SEEN[1:5], 34, 0]], "int32")
    for _ in range(2):
        model.train_on_batch(x, np.array([[0.0, 1.0], [2.0, 3.0]]))
    return model


def assert_untrained(path: Path, trained: list[int]) -> None:
    report = check_weights(path)
    assert report.passed
    finding = only(report, "PS202")
    expected = [row for row in range(ROWS) if row not in trained]
    assert finding.place == "layers/embedding/vars/0"
    assert finding.evidence["rows"] == len(expected)
    assert finding.evidence["of_rows"] == ROWS
    assert finding.evidence["first"] == expected[:8]


@pytest.mark.parametrize("name", ["adam", "adagrad", "sgd_momentum"])
def test_rows_that_no_batch_had(name: str, tmp_path: Path) -> None:
    path = tmp_path / "trained.keras"
    train(KNOWN[name]()).save(path)
    assert_untrained(path, [0, *SEEN])


@only_once
@pytest.mark.parametrize("name", sorted(KNOWN))
def test_every_optimizer_that_keeps_slots(name: str, tmp_path: Path) -> None:
    path = tmp_path / "trained.keras"
    train(KNOWN[name]()).save(path)
    # SGD keeps nothing; Adafactor adds a constant to all that it keeps.
    if name in ("sgd", "adafactor"):
        assert not len(check_weights(path))
    else:
        assert_untrained(path, [0, *SEEN])


@only_once
def test_rows_that_need_no_training_are_not_named(tmp_path: Path) -> None:
    path = tmp_path / "trained.keras"
    train("adam", mask_zero=True).save(path)
    assert_untrained(path, [0, *SEEN])  # the pad row, 0, stayed as it was

    model = keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            kp.layers.ExtendableEmbedding(ROWS, WIDTH, pad_id=0, frozen_rows=30),
            kp.layers.MaskedGlobalAveragePooling1D(),
            layers.Dense(1),
        ]
    )
    model.compile("adam", "mse", run_eagerly=True)
    model.train_on_batch(np.array([[31, 35, 0]]), np.array([[1.0]]))
    model.save(path)
    finding = only(check_weights(path), "PS202")
    assert finding.evidence["first"] == [30, 32, 33, 34, 36, 37, 38, 39]
    assert finding.evidence["rows"] == 8


@only_once
def test_an_optimizer_that_never_ran_says_nothing(tmp_path: Path) -> None:
    model = model_of()
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    model.save(tmp_path / "fresh.keras")
    report = check_weights(tmp_path / "fresh.keras")
    assert not len(report)
    assert report.not_checked == ()


@only_once
def test_words_are_named(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")  # Keras builds lookup layers with it
    path = tmp_path / "words.keras"
    lookup = layers.StringLookup(vocabulary=["red", "green", "blue"], name="lookup")
    text = keras.Input((None,), dtype="string")
    table = layers.Embedding(6, WIDTH, name="words")
    h = layers.GlobalMaxPooling1D()(table(lookup(text)))
    model = keras.Model(text, layers.Dense(1)(h))
    rows = np.random.default_rng(0).normal(size=(6, WIDTH))
    rows[3] = rows[1]
    table.set_weights([rows])
    model.save(path)
    report = check_weights(path)
    assert report.passed
    assert codes(report) == ["PS203", "PS205"]
    assert "1 ('red'), 3 ('blue')" in only(report, "PS203").message
    expected = {"rows": 6, "words": 4, "spare": 2, "lookups": ["lookup"]}
    assert only(report, "PS205").evidence == expected

    table = layers.Embedding(3, WIDTH, name="words")
    h = layers.GlobalMaxPooling1D()(table(lookup(text)))
    keras.Model(text, layers.Dense(1)(h)).save(path)
    finding = only(check_weights(path), "PS101")
    assert finding.severity == "error"
    assert "'lookup' gives ids up to 3, and the table has 3 rows" in finding.message

    inverse = layers.StringLookup(
        vocabulary=["red", "green", "blue"], invert=True, name="back"
    )
    ids = keras.Input((None,), dtype="int32")
    scores = layers.Dense(3)(layers.Embedding(3, WIDTH)(ids))
    keras.Model(ids, inverse(keras.ops.argmax(scores, axis=-1))).save(path)
    assert check_weights(path).passed


@pytest.mark.parametrize("dtype", FLOATS)
def test_values_that_are_not_finite(dtype: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "ill.keras", spoil, dtype=dtype)
    report = check_weights(path)
    (finding,) = report
    assert not report.passed
    assert (finding.code, finding.place) == ("PS201", "layers/embedding/vars/0")
    assert finding.evidence == {
        "layer": "words",
        "shape": [ROWS, WIDTH],
        "dtype": dtype,
        "nan": 1,
        "infinite": 2,
        "rows": 2,
        "first": [[3, 2], [3, 5], [39, 15]],
    }


@only_once
def test_the_largest_values_are_finite(tmp_path: Path) -> None:
    def fill(table: np.ndarray) -> None:
        table[0, :2] = np.finfo("float32").max, -np.finfo("float32").tiny

    assert check_weights(saved(tmp_path / "a.keras", fill)).passed


def test_every_shape_of_file_on_every_backend(tmp_path: Path) -> None:
    model = model_of("bfloat16")
    table = np.asarray(keras.ops.convert_to_numpy(model.weights[0]), "float32")
    spoil(table)
    model.weights[0].assign(table)
    files = [tmp_path / "a.keras", tmp_path / "folder", tmp_path / "a.weights.h5"]
    model.save(files[0])
    with zipfile.ZipFile(files[0]) as archive:
        archive.extractall(files[1])
    model.save_weights(files[2])
    sharded = tmp_path / "b.weights.json"
    model.save_weights(sharded, max_shard_size=1.22e-6)
    assert len(list(tmp_path.glob("b*.weights.h5"))) > 1
    for path in [*files, sharded]:
        finding = only(check_weights(path), "PS201")
        assert finding.evidence["first"] == [[3, 2], [3, 5], [39, 15]]
        assert finding.evidence["dtype"] == "bfloat16"
    for path in (files[2], sharded):
        (reason,) = check_weights(path).not_checked
        assert "holds weights only" in reason
        assert f"not checked: {reason}" in str(check_weights(path))
        assert check_weights(path).to_json()["not_checked"] == [reason]


@only_once
def test_counts_are_those_of_numpy_in_an_array_of_many_pieces(tmp_path: Path) -> None:
    path = tmp_path / "large.weights.h5"
    generator = np.random.default_rng(0)
    values = generator.normal(size=(3, 700_000, 2)).astype("float32")
    bad = generator.random(values.shape) < 1e-3
    values[bad] = generator.choice([np.nan, np.inf], bad.sum())
    with h5py.File(path, "w") as file:
        file["layers/dense/vars/0"] = values
        file["layers/dense/vars/1"] = np.float32(np.nan)
    first, second = check_weights(path)
    assert first.evidence["nan"] == np.isnan(values).sum()
    assert first.evidence["infinite"] == np.isinf(values).sum()
    assert first.evidence["rows"] == 3
    assert first.evidence["first"] == np.argwhere(bad)[:8].tolist()
    assert second.evidence["first"] == [[]]


@only_once
def test_slots_that_are_not_finite_are_one_finding(tmp_path: Path) -> None:
    model = train("adam")
    for variable in model.optimizer.variables[2:]:
        variable.assign(keras.ops.full(variable.shape, np.nan))
    path = tmp_path / "slots.keras"
    model.save(path)
    finding = only(check_weights(path), "PS201")
    slots = {k: v for k, v in read(path).slots.items() if np.isnan(v).any()}
    assert finding.place == "optimizer"
    assert finding.evidence["arrays"] == len(slots) == 6
    assert finding.evidence["first"][0]["path"] in slots


def copy_rows(table: np.ndarray) -> None:
    table[[9, 30]] = table[4]
    table[11] = table[8]
    table[12] = table[8]
    table[12, 0] *= 1.01


@pytest.mark.parametrize("dtype", FLOATS)
def test_rows_that_are_equal(dtype: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "equal.keras", copy_rows, dtype=dtype)
    report = check_weights(path)
    assert report.passed
    (finding,) = report
    assert finding.evidence == {
        "rows": 5,
        "of_rows": ROWS,
        "groups": 2,
        "first": [
            {"count": 3, "rows": [4, 9, 30], "words": [None] * 3},
            {"count": 2, "rows": [8, 11], "words": [None] * 2},
        ],
    }
    table = read(path).arrays["layers/embedding/vars/0"]
    _, counts = np.unique(table.view("u1"), axis=0, return_counts=True)
    assert sorted(counts[counts > 1]) == [2, 3]


@only_once
def test_equal_rows_that_mean_nothing(tmp_path: Path) -> None:
    path = tmp_path / "zeros.keras"
    saved(path, embeddings_initializer="zeros")
    assert not len(check_weights(path))
    model = train("adam", embeddings_initializer="zeros")
    model.save(path)
    report = check_weights(path)
    named = {row for g in only(report, "PS203").evidence["first"] for row in g["rows"]}
    assert named <= {0, *SEEN}  # the others are zeros too, and were said to be new
    wide = keras.Sequential(
        [keras.Input((3,), dtype="int32"), layers.Embedding(5000, 1), layers.Flatten()]
    )
    wide.save(path)
    report = check_weights(path)
    assert not len(report)
    (reason,) = report.not_checked
    assert reason.startswith("equal rows of layers/embedding/vars/0: with 5000 rows")


@only_once
def test_a_grown_file_is_healthy(tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    train("adam").save(source)
    kp.surgery.grow(source, target, rows=5)
    assert_untrained_after_growth(target)
    without_slots = tmp_path / "dropped.keras"
    kp.surgery.grow(source, without_slots, rows=5, optimizer="drop")
    report = check_weights(without_slots)
    assert report.passed
    assert only(report, "PS203").evidence["first"][0]["rows"] == list(range(40, 45))


def assert_untrained_after_growth(path: Path) -> None:
    report = check_weights(path)
    assert report.passed
    assert codes(report) == ["PS202"]
    assert only(report, "PS202").evidence["rows"] == ROWS - len(SEEN) - 1 + 5


@only_once
@pytest.mark.filterwarnings("ignore:.*destroy the mask information")
def test_a_pad_row(tmp_path: Path) -> None:
    """Behind a mask it may hold anything; that training moved it says something."""
    assert not len(check_weights(saved(tmp_path / "pad.keras", mask_zero=True)))
    for pool in (keras.layers.GlobalAveragePooling1D, keras.layers.GlobalMaxPooling1D):
        model = keras.Sequential(
            [
                keras.Input((4,), dtype="int32"),
                keras.layers.Embedding(ROWS, 8, mask_zero=True),
                pool(),
                keras.layers.Dense(1),
            ]
        )
        model.compile("adam", "mse")
        batch = np.array([[1, 2, 3, 4], [5, 6, 0, 0]] * 4)
        model.fit(batch, np.ones((8, 1)), verbose=0)
        path = tmp_path / "trained.keras"
        model.save(path)
        found = [f for f in check_weights(path) if f.code == "PS204"]
        leaks = pool is keras.layers.GlobalMaxPooling1D
        assert [f.evidence for f in found] == [{"pad_ids": [0]}] * leaks


@only_once
@pytest.mark.parametrize("name", sorted(UNKNOWN))
def test_an_optimizer_of_unknown_order_is_said(name: str, tmp_path: Path) -> None:
    path = tmp_path / "trained.keras"
    train(UNKNOWN[name]()).save(path)
    report = check_weights(path)
    assert not len(report)
    (reason,) = report.not_checked
    assert reason.startswith("rows never trained: optimizer")
    assert "drop" not in reason


@only_once
def test_a_quantized_table_is_said(tmp_path: Path) -> None:
    model = model_of()
    with keras_may_warn():
        model.quantize("int8")
    model.save(tmp_path / "int8.keras")
    report = check_weights(tmp_path / "int8.keras")
    assert not len(report)
    assert report.not_checked == (
        "the rows of layers/embedding/vars/0: it is quantized (int8)",
    )


@only_once
def test_a_config_that_cannot_be_followed_hides_no_nan(tmp_path: Path) -> None:
    source, path = saved(tmp_path / "a.keras", spoil), tmp_path / "b.keras"
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            contents = old.read(name)
            if name == "config.json":
                contents = b'{"class_name": "Sequential"}'
            new.writestr(name, contents)
    report = check_weights(path)
    assert codes(report) == ["PS201"]
    assert report.not_checked


@only_once
def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SurgeryError, match="path: expected the path of a file"):
        check_weights(5)  # type: ignore[arg-type]
    with pytest.raises(ArchiveError, match="cannot be read"):
        check_weights(tmp_path / "missing.keras")


MEBIBYTES = 1 << 20
SCRIPT = """
import sys
import keras_padsafe as kp

def peak():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

kp.audit.check_weights(sys.argv[2])
before = peak()
report = kp.audit.check_weights(sys.argv[1])
assert [f.code for f in report] == ["PS203"], str(report)
print(1024 * (peak() - before), {"keras", "jax", "torch"} & set(sys.modules))
"""


@only_once
@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="needs the peak that Linux reports"
)
def test_memory_is_bounded_and_keras_is_not_imported(tmp_path: Path) -> None:
    def build(rows: int, path: Path) -> Path:
        model = keras.Sequential(
            [keras.Input((3,), dtype="int32"), layers.Embedding(rows, 2048)]
        )
        table = np.random.default_rng(0).normal(size=(rows, 2048))
        table[1] = table[0]
        model.set_weights([table])
        model.save(path)
        return path

    large = build(20_000, tmp_path / "large.keras")
    small = build(20, tmp_path / "small.keras")
    assert large.stat().st_size > 150 * MEBIBYTES
    command = [sys.executable, "-c", SCRIPT, str(large), str(small)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    grown, _, loaded = done.stdout.partition(" ")
    assert int(grown) < 32 * MEBIBYTES
    assert loaded.strip() == "set()"
