"""A repaired file is the same model, which padding cannot reach."""

import json
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import keras_padsafe as kp
from keras_padsafe.archive import open_archive
from keras_padsafe.errors import ArchiveError, SurgeryError

from ..surgery.saved import digest, read, same_bits
from .leaky_models import DIM, LEAKY, SIZE, Build, ids, numbers_shift, tokens

# GroupQueryAttention and nested models warn of masks that they keep.
pytestmark = pytest.mark.filterwarnings("ignore:.*mask:UserWarning")

RANDOM = np.random.default_rng(0)


def rows(model: keras.Model, count: int = 4, steps: int = 5) -> list[np.ndarray]:
    """A batch without padding."""
    shapes = [(count, steps, *one.shape[2:]) for one in model.inputs]
    return [
        RANDOM.integers(1, SIZE, shape).astype("int32")
        if len(shape) == 2
        else RANDOM.normal(size=shape).astype("float32")
        for shape in shapes
    ]


def run(model: keras.Model, batch: list[np.ndarray]) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(batch if len(batch) > 1 else batch[0]))


def pad(batch: list[np.ndarray]) -> list[np.ndarray]:
    """The same rows with three steps of padding, where there are ids."""
    return [np.pad(x, ((0, 0), (0, 3))) if x.ndim == 2 else x for x in batch]


def save(build: Build, path: Path) -> keras.Model:
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(1)
    model = build()
    model.save(path)
    return model


@pytest.fixture(scope="module", params=LEAKY, ids=lambda build: build.__name__)
def case(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Any:
    """A stock model, the folder of both files, the report and the repaired model."""
    folder = tmp_path_factory.mktemp("repair")
    model = save(request.param, folder / "old.keras")
    report = kp.audit.repair(folder / "old.keras", folder / "new.keras")
    mended = keras.models.load_model(folder / "new.keras")
    return request.param, model, folder, report, mended


def test_swaps_what_a_mask_reaches_and_nothing_else(case: Any) -> None:
    build, _, _, report, _ = case
    assert [(one.old, one.new) for one in report.swapped] == LEAKY[build]
    assert report.findings == ()


def test_padding_cannot_reach_the_repaired_model(case: Any) -> None:
    """The stock model on the rows without their padding is the reference."""
    _, model, _, _, mended = case
    batch = rows(model)
    expected = run(model, batch)
    np.testing.assert_allclose(run(mended, batch), expected, atol=2e-5)
    np.testing.assert_allclose(run(mended, pad(batch)), expected, atol=2e-5)
    empty = [np.zeros_like(x) for x in batch]
    assert np.isfinite(run(mended, empty)).all()


def test_the_stock_model_lets_padding_through(case: Any) -> None:
    _, model, _, _, _ = case
    batch = rows(model, 32)
    stock = run(model, batch)
    leaks = np.abs(run(model, pad(batch)) - stock).max() > 1e-3
    nan = np.isnan(run(model, [np.zeros_like(x) for x in batch])).any()
    assert leaks or nan


def test_every_array_keeps_its_bytes(case: Any) -> None:
    """By the names that Keras itself gives the layers of the repaired model."""
    _, _, folder, _, mended = case
    old, new = read(folder / "old.keras"), read(folder / "new.keras")
    before, after = list(old.arrays.values()), list(new.arrays.values())
    assert len(before) == len(after)
    by_bytes = sorted(values.tobytes() for values in before)
    assert by_bytes == sorted(values.tobytes() for values in after)
    mended.save(folder / "again.keras")
    again = read(folder / "again.keras")
    assert new.arrays.keys() == again.arrays.keys()
    for path, values in again.arrays.items():
        assert same_bits(values, new.arrays[path]), path


def test_proves_it(case: Any) -> None:
    _, _, _, report, _ = case
    assert report.passed
    statuses = {check.name: check.status for check in report.checks}
    assert statuses == {
        "loads in Keras": "passed",
        "arrays as Keras loads them": "passed",
        "weights are the same": "passed",
        "optimizer goes on": "does not apply",
        "rows without padding keep their outputs": "passed",
        "rows with padding": "passed",
    }
    document = json.loads(json.dumps(report.to_json()))
    assert document["passed"] is True
    assert len(document["swapped"]) == len(report.swapped)
    assert "-> Masked" in str(report)


def test_training_goes_on_where_it_was(tmp_path: Path) -> None:
    """Three more steps on rows without padding, beside the stock model."""

    def build() -> keras.Model:
        model = numbers_shift()
        model.compile(keras.optimizers.Adam(0.01, amsgrad=True), "mse")
        return model

    keras.utils.set_random_seed(1)
    model = build()
    batch = rows(model, 8)
    labels = RANDOM.normal(size=(8, 2 * DIM)).astype("float32")
    model.fit(batch, labels, epochs=2, verbose=0)
    model.save(tmp_path / "old.keras")
    report = kp.audit.repair(tmp_path / "old.keras", tmp_path / "new.keras")
    assert report["optimizer goes on"].value == 2
    mended = keras.models.load_model(tmp_path / "new.keras")
    slots = [keras.ops.convert_to_numpy(v) for v in model.optimizer.variables]
    for old, new in zip(slots, mended.optimizer.variables, strict=True):
        np.testing.assert_array_equal(old, keras.ops.convert_to_numpy(new))
    for one in (model, mended):
        one.fit(batch, labels, epochs=3, shuffle=False, verbose=0)
    for old, new in zip(model.weights, mended.weights, strict=True):
        arrays = [keras.ops.convert_to_numpy(v) for v in (old, new)]
        np.testing.assert_allclose(*arrays, atol=1e-5)


def test_what_lies_behind_an_explicit_mask_is_hidden(tmp_path: Path) -> None:
    words, real = ids("words"), keras.Input((None,), dtype="bool", name="real")
    x = layers.Embedding(SIZE, DIM, name="table")(words)
    scores = keras.ops.expand_dims(real, 1)
    x = layers.MultiHeadAttention(2, 4)(x, x, attention_mask=scores)
    y = layers.GlobalMaxPooling1D()(x)
    model = keras.Model([words, real], [x, y])
    model.save(tmp_path / "old.keras")
    report = kp.audit.repair(tmp_path / "old.keras", tmp_path / "new.keras")
    # The author gave the pooling no mask; it is left alone.
    assert [one.new for one in report.swapped] == ["MaskedMultiHeadAttention"]
    mended = keras.models.load_model(tmp_path / "new.keras")
    table = mended.get_layer("table").embeddings
    mask = np.array([[True, True, False], [True, False, False]])
    ordinary = np.array([[3, 4, 5], [6, 7, 8]])
    expected = keras.ops.convert_to_numpy(mended([ordinary, mask])[0])
    values = keras.ops.convert_to_numpy(table).copy()
    values[9] = np.nan
    table.assign(values)
    poisoned = np.where(mask, ordinary, 9)
    found = keras.ops.convert_to_numpy(mended([poisoned, mask])[0])
    np.testing.assert_allclose(found[mask], expected[mask], atol=1e-6)


def no_mask() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((12, 3)),
            layers.Conv1D(4, 3),
            layers.Softmax(),
            layers.GlobalAveragePooling1D(),
        ]
    )


def mask_well_used() -> keras.Model:
    x = layers.Dropout(0.1)(tokens()(words := ids()))
    x = layers.Add()([x, layers.LSTM(DIM, return_sequences=True)(x)])
    return keras.Model(words, layers.Dense(2)(layers.GRU(3)(x)))


def first_step_only() -> keras.Model:
    x = tokens()(words := ids())
    return keras.Model(words, layers.Dense(2)(x[:, 0]))


@pytest.mark.parametrize("build", [no_mask, mask_well_used, first_step_only])
def test_nothing_to_mend_is_a_copy(build: Build, tmp_path: Path) -> None:
    save(build, tmp_path / "old.keras")
    report = kp.audit.repair(tmp_path / "old.keras", tmp_path / "new.keras")
    assert (report.swapped, report.findings, report.checks) == ((), (), ())
    assert report.passed
    assert str(report) == "nothing to repair"
    old, new = read(tmp_path / "old.keras"), read(tmp_path / "new.keras")
    assert old.config == new.config
    assert old.arrays.keys() == new.arrays.keys()
    assert all(same_bits(values, new.arrays[k]) for k, values in old.arrays.items())


def test_a_copy_from_a_folder_and_without_proof(tmp_path: Path) -> None:
    model = numbers_shift()
    model.save(tmp_path / "old", zipped=False)
    report = kp.audit.repair(tmp_path / "old", tmp_path / "new.keras", prove=False)
    assert len(report.swapped) == 4
    assert report.checks == ()
    mended = keras.models.load_model(tmp_path / "new.keras")
    batch = rows(model)
    np.testing.assert_allclose(run(mended, batch), run(model, batch), atol=1e-6)


def test_the_source_is_never_written(tmp_path: Path) -> None:
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    save(numbers_shift, source)
    before = digest(source)
    with pytest.raises(ArchiveError, match="the source itself"):
        kp.audit.repair(source, source, overwrite=True)
    target.write_bytes(b"mine")
    with pytest.raises(ArchiveError, match="exists already"):
        kp.audit.repair(source, target)
    assert target.read_bytes() == b"mine"
    kp.audit.repair(source, target, overwrite=True, prove=False)
    assert digest(source) == before
    assert {path.name for path in tmp_path.iterdir()} == {"old.keras", "new.keras"}


@pytest.mark.parametrize("arguments", [(3, "new.keras"), ("old.keras", None)])
def test_paths_that_are_none(arguments: Any) -> None:
    with pytest.raises(SurgeryError, match="expected the path of a file"):
        kp.audit.repair(*arguments)


def test_a_change_of_outputs_is_a_failed_check(
    tmp_path: Path, monkeypatch: Any
) -> None:
    module = sys.modules["keras_padsafe.audit.repair"]
    honest = module.rewrite_config

    def wrong(config: Any, edits: Any) -> Any:
        new = honest(config, edits)
        for layer in new["config"]["layers"]:
            if layer["class_name"] == "MaskedConv1D":
                layer["config"]["activation"] = "exponential"
        return new

    monkeypatch.setattr(module, "rewrite_config", wrong)
    save(numbers_shift, tmp_path / "old.keras")
    report = kp.audit.repair(tmp_path / "old.keras", tmp_path / "new.keras")
    assert not report.passed
    assert report["rows without padding keep their outputs"].status == "failed"


def test_weights_in_a_wrong_place_are_a_failed_check(
    tmp_path: Path, monkeypatch: Any
) -> None:
    module = sys.modules["keras_padsafe.audit.repair"]
    honest = module.renamed_groups

    def wrong(*arguments: Any) -> dict[str, str]:
        renames = honest(*arguments)
        first, last = "layers/masked_conv1d", "layers/masked_conv1d_2"
        swap = {first: last, last: first}
        return {old: swap.get(new, new) for old, new in renames.items()}

    monkeypatch.setattr(module, "renamed_groups", wrong)
    save(numbers_shift, tmp_path / "old.keras")
    report = kp.audit.repair(tmp_path / "old.keras", tmp_path / "new.keras")
    assert report["rows without padding keep their outputs"].status == "failed"


def test_the_new_groups_bear_the_names_of_their_layers(tmp_path: Path) -> None:
    save(numbers_shift, tmp_path / "old.keras")
    kp.audit.repair(tmp_path / "old.keras", tmp_path / "new.keras", prove=False)
    with open_archive(tmp_path / "new.keras") as archive:
        names = {
            path.removesuffix("/vars").removeprefix("layers/"): attributes["name"]
            for path, attributes in archive.groups.items()
            if path.endswith("/vars") and "conv1d" in path
        }
    assert names == {
        "masked_conv1d": "c0",
        "masked_conv1d_1": "c2",
        "masked_conv1d_2": "c4",
        "conv1d": "c1",
        "conv1d_1": "c3",
    }
