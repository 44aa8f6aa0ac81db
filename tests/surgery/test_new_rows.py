"""New rows: what they hold, and how little they may move the old outputs."""

from pathlib import Path

import keras
import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras import layers

import keras_padsafe as kp
from keras_padsafe.errors import SurgeryError
from keras_padsafe.surgery.finding.words import split_pieces
from keras_padsafe.surgery.planning.new_rows import read_new_rows

from .reference import only_once, save
from .saved import read, same_bits
from .zoo import ADDED, DIM, GROWN, SIZE, STEPS, ids

pytestmark = only_once

TABLE = "layers/embedding/vars/0"
KERNEL = "layers/dense/vars/0"
BIAS = "layers/dense/vars/1"


def _build(
    rows: np.ndarray, kernel: np.ndarray, bias: np.ndarray, dtype: str = "float32"
) -> keras.Model:
    x = ids()
    h = layers.Embedding(*rows.shape, name="words", dtype=dtype)(x)
    model = keras.Model(x, layers.Dense(len(bias), dtype=dtype)(h))
    model.set_weights([rows, kernel, bias])
    return model


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    generator = np.random.default_rng(5)
    path = tmp_path_factory.mktemp("new_rows") / "old.keras"
    rows = generator.normal(3, 2, (SIZE, DIM))
    kernel, bias = generator.normal(size=(DIM, SIZE)), generator.normal(-9, 1, SIZE)
    save(lambda _: _build(rows, kernel, bias), SIZE, path)
    return path


def _grown(source: Path, folder: Path, new_rows: object) -> dict[str, np.ndarray]:
    target = folder / "new.keras"
    kp.surgery.grow(source, target, rows=ADDED, new_rows=new_rows, overwrite=True)
    return read(target).arrays


def test_mean(source: Path, tmp_path: Path) -> None:
    old, new = read(source).arrays, _grown(source, tmp_path, "mean")
    for path, axis in ((TABLE, 0), (KERNEL, 1), (BIAS, 0)):
        made = np.take(new[path], range(SIZE, GROWN), axis)
        mean = old[path].astype(np.float64).mean(axis, keepdims=True)
        np.testing.assert_array_equal(
            made, np.broadcast_to(mean.astype(np.float32), made.shape)
        )


def test_zeros(source: Path, tmp_path: Path) -> None:
    new = _grown(source, tmp_path, "zeros")
    assert not new[TABLE][SIZE:].any()
    assert not new[KERNEL][:, SIZE:].any()
    assert not new[BIAS][SIZE:].any()


@pytest.mark.parametrize("spec", [0.25, "constant:0.25"])
def test_constant(spec: object, source: Path, tmp_path: Path) -> None:
    old, new = read(source).arrays, _grown(source, tmp_path, spec)
    assert set(new[TABLE][SIZE:].ravel()) == {np.float32(0.25)}
    np.testing.assert_allclose(new[BIAS][SIZE:], old[BIAS].mean(), rtol=1e-6)


def test_given_rows(source: Path, tmp_path: Path) -> None:
    rows = np.arange(ADDED * DIM, dtype="float32").reshape(ADDED, DIM)
    old, new = read(source).arrays, _grown(source, tmp_path, rows)
    np.testing.assert_array_equal(new[TABLE][SIZE:], rows)
    mean = old[KERNEL].astype(np.float64).mean(1, keepdims=True)
    np.testing.assert_allclose(
        new[KERNEL][:, SIZE:], np.broadcast_to(mean, (DIM, ADDED)), rtol=1e-6
    )


def test_normal_follows_the_seed(source: Path, tmp_path: Path) -> None:
    first = _grown(source, tmp_path, "normal:7")
    again = _grown(source, tmp_path, "normal:7")
    other = _grown(source, tmp_path, "normal:8")
    assert all(same_bits(first[path], again[path]) for path in first)
    assert not np.array_equal(first[TABLE], other[TABLE])
    assert len(np.unique(first[TABLE][SIZE:], axis=0)) == ADDED


def test_normal_has_the_statistics_of_the_table(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "new.keras"
    kp.surgery.grow(source, target, rows=20_000, new_rows="normal:1")
    old, new = read(source).arrays, read(target).arrays
    for path, axis in ((TABLE, 0), (KERNEL, 1)):
        made = np.moveaxis(new[path], axis, 0)[SIZE:].astype(np.float64)
        rows = np.moveaxis(old[path], axis, 0).astype(np.float64)
        error = rows.std(0) / np.sqrt(len(made))
        assert (np.abs(made.mean(0) - rows.mean(0)) < 5 * error).all()
        np.testing.assert_allclose(made.std(0), rows.std(0), rtol=0.05)


def test_bad_row_does_not_spread(tmp_path: Path) -> None:
    source = tmp_path / "old.keras"
    rows = np.ones((SIZE, DIM), "float32")
    rows[2], rows[3] = np.nan, np.inf
    kernel, bias = np.ones((DIM, SIZE)), np.zeros(SIZE)
    save(lambda _: _build(rows, kernel, bias), SIZE, source)
    for spec in ("mean", "normal"):
        new = _grown(source, tmp_path, spec)
        np.testing.assert_array_equal(new[TABLE][SIZE:], np.ones((ADDED, DIM)))
        assert np.isnan(new[TABLE][2]).all()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_rounded_once(dtype: str, tmp_path: Path) -> None:
    """Thousands of rows summed in half precision would be far off the mean."""
    source = tmp_path / "old.keras"
    kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else np.float16
    rows = np.random.default_rng(0).normal(0.1, 1, (5000, DIM)).astype(kind)
    kernel, bias = np.zeros((DIM, 3), kind), np.zeros(3, kind)
    save(lambda _: _build(rows, kernel, bias, dtype), SIZE, source)
    new = _grown(source, tmp_path, "mean")
    mean = rows.astype(np.float64).mean(0).astype(np.float32).astype(kind)
    assert new[TABLE].dtype == kind
    np.testing.assert_array_equal(
        new[TABLE][5000:], np.broadcast_to(mean, (ADDED, DIM))
    )


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    shift=st.sampled_from([0.0, -30.0, 30.0]),
    scale=st.floats(0.01, 10),
    seed=st.integers(0, 2**32 - 1),
    added=st.integers(1, 40),
)
def test_mean_bounds_the_change_of_a_softmax(
    shift: float, scale: float, seed: int, added: int, tmp_path: Path
) -> None:
    """KL(old || new) <= log(1 + new / old), for any input."""
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(SIZE, DIM))
    kernel = generator.normal(0, scale, (DIM, SIZE))
    bias = generator.normal(shift, scale, SIZE)
    source, target = tmp_path / "old.keras", tmp_path / "new.keras"
    save(lambda _: _build(rows, kernel, bias), SIZE, source)
    kp.surgery.grow(source, target, rows=added, overwrite=True)
    old, new = read(source).arrays, read(target).arrays
    h = generator.normal(0, 3, (50, DIM))
    before = h @ old[KERNEL].astype(np.float64) + old[BIAS]
    after = h @ new[KERNEL].astype(np.float64) + new[BIAS]
    divergence = _log_sum_exp(after) - _log_sum_exp(before)
    assert (divergence <= np.log1p(added / SIZE) + 1e-5).all()


def _log_sum_exp(logits: np.ndarray) -> np.ndarray:
    most = logits.max(-1)
    return np.log(np.exp(logits - most[:, None]).sum(-1)) + most


@pytest.mark.parametrize("spec", ["zeros", 0.5])
def test_a_risky_choice_is_noted(spec: object, source: Path) -> None:
    notes = kp.surgery.plan(source, rows=1, new_rows=spec).notes
    assert any("most of the probability" in note for note in notes)
    notes = kp.surgery.plan(source, rows=1).notes
    assert not any("most of the probability" in note for note in notes)


@pytest.mark.parametrize("new", [1, 7, 400])
def test_the_note_bounds_what_the_mean_row_moves(
    new: int, source: Path, tmp_path: Path
) -> None:
    report = kp.surgery.grow(source, tmp_path / "new.keras", rows=new)
    share, move = new / (SIZE + new), np.log1p(new / SIZE)
    noted = (
        f"at most {share:.2%} of the probability, and old log probabilities change by "
        "at most "
    )
    assert any(f"{noted}{move:.4f} nats" in note for note in report.plan.notes)
    before, after = (
        keras.models.load_model(path) for path in (source, tmp_path / "new.keras")
    )
    x = np.resize(np.arange(SIZE), (SIZE, STEPS))
    old, now = (
        np.asarray(keras.ops.softmax(one.predict(x, verbose=0))).astype("float64")
        for one in (before, after)
    )
    assert now[..., SIZE:].sum(-1).max() <= share * (1 + 1e-5)
    divergence = (old * (np.log(old) - np.log(now[..., :SIZE]))).sum(-1)
    assert divergence.max() <= move + 1e-5


def _like(source: Path, folder: Path, likes: dict[int, list[int]]) -> None:
    old, new = read(source).arrays, _grown(source, folder, likes)
    for path, axis in ((TABLE, 0), (KERNEL, 1), (BIAS, 0)):
        for id_ in range(SIZE, GROWN):
            rows = np.take(
                old[path].astype(np.float64), likes.get(id_, range(SIZE)), axis
            )
            expected = rows.mean(axis).astype(np.float32)
            made = np.take(new[path], id_, axis)
            np.testing.assert_allclose(made, expected, rtol=1e-6)
            if len(likes.get(id_, ())) == 1:
                assert same_bits(made, expected)


def test_a_new_row_is_like_old_ones(source: Path, tmp_path: Path) -> None:
    _like(source, tmp_path, {SIZE: [3], SIZE + 1: [7, 2, 2]})


def test_a_plan_of_mixes_survives_its_file(source: Path, tmp_path: Path) -> None:
    plan = kp.surgery.plan(source, rows=2, new_rows={SIZE: 4, SIZE + 1: [1, 2]})
    plan.save(tmp_path / "plan.json")
    again = kp.surgery.Plan.load(tmp_path / "plan.json")
    assert again.new_rows.mix == ((4,), (1, 2)) == plan.new_rows.mix
    kp.surgery.apply_plan(again, source, tmp_path / "new.keras")
    table = read(tmp_path / "new.keras").arrays[TABLE]
    assert same_bits(table[SIZE], read(source).arrays[TABLE][4])


def test_covariance_has_that_of_the_table(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    mixing = generator.normal(size=(DIM, DIM))
    rows = (generator.normal(size=(400, DIM)) @ mixing + 5).astype("float32")
    x = ids()
    model = keras.Model(x, layers.Embedding(400, DIM)(x))
    model.set_weights([rows])
    model.save(tmp_path / "old.keras")
    for scale in (1.0, 0.25):
        target = tmp_path / f"{scale}.keras"
        way = f"covariance:{scale}:2"
        kp.surgery.grow(tmp_path / "old.keras", target, rows=6000, new_rows=way)
        new = read(target).arrays[TABLE][400:].astype("float64")
        wanted = scale**2 * np.cov(rows.T)
        assert np.abs(np.cov(new.T) - wanted).max() < 0.08 * np.abs(wanted).max()
        spread = np.sqrt(np.diag(wanted) / 6000)
        assert (np.abs(new.mean(0) - rows.mean(0)) < 5 * spread).all()
    again = tmp_path / "again.keras"
    kp.surgery.grow(tmp_path / "old.keras", again, rows=6000, new_rows=way)
    assert same_bits(read(again).arrays[TABLE], read(target).arrays[TABLE])


def _words(folder: Path) -> Path:
    words = keras.Input((3,), dtype="string")
    lookup = layers.StringLookup(vocabulary=["cat", "dog"], mask_token="")
    x = layers.Embedding(4, 3, mask_zero=True)(lookup(words))
    keras.Model(words, x).save(folder / "words.keras")
    return folder / "words.keras"


@pytest.mark.parametrize(
    ("way", "mix"),
    [
        ("unknown", ((1,), (1,))),
        ("like:dog", ((3,), (3,))),
        ({"ox": "cat"}, ((2,), ())),
        ({"ox": ["cat", "dog"], "emu": "[UNK]"}, None),
        ({"ox": ["cat", "dog"], "emu": 1}, ((2, 3), (1,))),
    ],
)
def test_old_words_are_named(way: object, mix: object, tmp_path: Path) -> None:
    source = _words(tmp_path)
    if mix is None:
        with pytest.raises(SurgeryError, match=r"'\[UNK\]' is no word"):
            kp.surgery.plan(source, tokens=["ox", "emu"], new_rows=way)
        return
    plan = kp.surgery.plan(source, tokens=["ox", "emu"], new_rows=way)
    assert plan.new_rows.mix == mix


@pytest.mark.parametrize(
    ("way", "mix"),
    [
        ("like:20", ((3,),)),
        ({7: 5}, ((1,),)),
        ({"7": ["5", 20]}, ((1, 3),)),
    ],
)
def test_words_that_are_integers_are_no_ids(
    way: object, mix: object, tmp_path: Path
) -> None:
    numbers = keras.Input((3,), dtype="int64")
    lookup = layers.IntegerLookup(vocabulary=[5, 4, 20])
    model = keras.Model(numbers, layers.Embedding(4, 3)(lookup(numbers)))
    model.save(tmp_path / "old.keras")
    plan = kp.surgery.plan(tmp_path / "old.keras", tokens=[7], new_rows=way)
    assert plan.new_rows.mix == mix
    with pytest.raises(SurgeryError, match="'3' is no word"):
        kp.surgery.plan(tmp_path / "old.keras", tokens=[7], new_rows="like:3")


def test_the_pieces_of_a_new_word() -> None:
    known = {"un", "##want", "##ed", "u", "##n", "want"}
    assert split_pieces("unwanted", known) == ["un", "##want", "##ed"]
    assert split_pieces("want", known) == ["want"]
    assert split_pieces("unx", known) == []
    assert split_pieces("", known) == []


@pytest.mark.parametrize(
    ("way", "message"),
    [
        ("unknown", "no lookup layer .* has one"),
        ("pieces", "has no pieces in vocabulary"),
        ("like:cow", "'cow' is no word"),
        ("like:", "is not understood"),
        ("covariance:nan", "not understood"),
        ({SIZE + 5: 1}, f"{SIZE + 5} is no new word or id"),
        ({SIZE: SIZE}, f"from 0 to {SIZE - 1}"),
        ({SIZE: 1.5}, "new_rows: expected a list of words"),
    ],
)
def test_rows_that_are_not_there(way: object, message: str, source: Path) -> None:
    with pytest.raises(SurgeryError, match=message):
        kp.surgery.plan(source, rows=1, new_rows=way)


WRONG = {
    "median": r"'median' is not understood.*Expected: 'mean', 'zeros'",
    "normal:x": r"'normal:x' is not understood",
    "mean:1": r"'mean:1' is not understood",
    "constant": r"'constant' is not understood",
}


@pytest.mark.parametrize("spec", WRONG)
def test_unknown_ways_are_refused(spec: str) -> None:
    with pytest.raises(SurgeryError, match=WRONG[spec]):
        read_new_rows(spec)


def test_wrong_values_are_refused(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "new.keras"
    wrong: list[tuple[object, str]] = [
        (float("nan"), "finite constant; received nan"),
        (
            1e300,
            "is of float32, in which the largest number given, 1e.300, is infinite",
        ),
        ([[1e300] * DIM] * ADDED, "is infinite"),
        (np.full((ADDED, DIM), np.inf), "NaN or infinite"),
        (np.zeros(DIM), r"matrix of numbers.*received float64 of shape \(4,\)"),
        (np.zeros((ADDED, DIM + 1)), r"\(3, 5\). Expected: \(3, 4\)"),
        (np.zeros((ADDED + 1, DIM)), r"\(4, 4\). Expected: \(3, 4\)"),
        (np.array([["a"]]), "matrix of numbers"),
        (True, "matrix of numbers"),
        (None, "matrix of numbers"),
    ]
    for spec, message in wrong:
        with pytest.raises(SurgeryError, match=f"new_rows.*{message}"):
            kp.surgery.grow(source, target, rows=ADDED, new_rows=spec)
    assert not target.exists()


def test_multiple_of_with_given_rows(source: Path, tmp_path: Path) -> None:
    """Rows are given for the words; those that only fill up take the mean."""
    target = tmp_path / "new.keras"
    rows = np.ones((2, DIM))
    report = kp.surgery.grow(
        source, target, tokens=["a", "b"], new_rows=rows, multiple_of=8
    )
    assert report.plan.new_size == 16
    assert report.tokens == {"a": 13, "b": 14}
    new = read(target).arrays[TABLE]
    np.testing.assert_array_equal(new[SIZE : SIZE + 2], rows)
    np.testing.assert_allclose(new[15], new[:SIZE].mean(0), rtol=1e-6)
