"""Quantised tables and heads: what Keras makes of the float model of the other size."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import keras_padsafe as kp
from keras_padsafe.errors import AmbiguousVocabularyError, SurgeryError

from .reference import only_once
from .saved import read, same_bits

pytestmark = [
    pytest.mark.filterwarnings(
        "ignore:Layer .* does not have a `quantize`:UserWarning"
    ),
    pytest.mark.usefixtures("quick_compile"),
]

INT4: Any = getattr(keras.quantizers, "Int4QuantizationConfig", None)
HAS_BLOCKS = INT4 is not None and "block_size" in inspect.signature(INT4).parameters
packs_outputs = pytest.mark.skipif(
    not HAS_BLOCKS, reason="this Keras packs the inputs of a kernel, which is refused"
)
DIM = 5
ORDER = [6, 0, 3, 3, 2]  # some go, one comes twice, others move
Build = Callable[[int], keras.Model]


def table(size: int) -> keras.Model:
    x = layers.Embedding(size, DIM)(given := keras.Input((4,), dtype="int32"))
    return keras.Model(given, layers.Dense(2)(x))


def extendable(size: int) -> keras.Model:
    own = kp.layers.ExtendableEmbedding(size, DIM)
    return keras.Model(given := keras.Input((4,), dtype="int32"), own(given))


def head(size: int) -> keras.Model:
    x = layers.Embedding(size, DIM)(given := keras.Input((4,), dtype="int32"))
    return keras.Model(given, layers.Dense(size)(x))


def head_of_einsum(size: int) -> keras.Model:
    x = layers.Embedding(size, DIM)(given := keras.Input((4,), dtype="int32"))
    made = layers.EinsumDense("abc,cd->abd", (None, size), bias_axes="d")
    return keras.Model(given, made(x))


def transposed_head(size: int) -> keras.Model:
    x = layers.Embedding(size, DIM)(given := keras.Input((4,), dtype="int32"))
    return keras.Model(given, layers.EinsumDense("abc,dc->abd", (None, size))(x))


def tied(size: int) -> keras.Model:
    both, given = (
        layers.ReversibleEmbedding(size, DIM),
        keras.Input((4,), dtype="int32"),
    )
    return keras.Model(given, both(both(given), reverse=True))


def untied(size: int) -> keras.Model:
    both = layers.ReversibleEmbedding(size, DIM, tie_weights=False)
    given = keras.Input((4,), dtype="int32")
    return keras.Model(given, both(both(given), reverse=True))


def encoding(size: int) -> keras.Model:
    given = keras.Input((4,), dtype="int32")
    return keras.Model(given, layers.Dense(3)(layers.CategoryEncoding(size)(given)))


def model(build: Build, size: int, values: list[np.ndarray] | None = None) -> Any:
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(3)
    made = build(size)
    for weight in made.weights if values is None else ():
        weight.assign(np.random.default_rng(len(weight.path)).normal(size=weight.shape))
    if values is not None:
        made.set_weights(values)
    return made


def quantised(build: Build, how: str, path: Path, size: int, values: Any = None) -> Any:
    made = model(build, size, values)
    before = made.get_weights()
    mode, _, block = how.partition("/")
    if block and not HAS_BLOCKS:
        pytest.skip("this Keras quantises to four bits without blocks alone")
    asked = {"config": INT4(block_size=int(block))} if block else {"mode": mode}
    made.quantize(**asked)
    made.save(path)
    return before


def mean_unit(path: Path) -> np.ndarray:
    """The mean column of a head's real numbers, as Keras reads them."""
    layer = keras.models.load_model(path).layers[-1]
    name = "kernel" if hasattr(layer, "kernel_scale") else "reverse_embeddings"
    whole = getattr(layer, name)
    if whole.shape[0] != DIM:
        whole = keras.quantizers.unpack_int4(whole, DIM, axis=0)
    whole, scale, zero = (
        None if value is None else keras.ops.convert_to_numpy(value).astype("f8")
        for value in (
            whole,
            getattr(layer, f"{name}_scale"),
            getattr(layer, f"{name}_zero", None),
        )
    )
    if zero is None:
        return (whole / scale.reshape(-1)).mean(1, keepdims=True)
    groups = keras.ops.convert_to_numpy(layer.g_idx).astype(int)
    return ((whole - zero[groups]) * scale[groups]).mean(1, keepdims=True)


HEADS = (head, head_of_einsum, untied)
CASES = [
    *((build, "int8", 7) for build in (table, head, head_of_einsum, transposed_head)),
    *((build, "int8", 7) for build in (untied, encoding)),
    (table, "int4", 8),
    *((head, "int4/2", size) for size in (7, 8)),
    (head_of_einsum, "int4/-1", 7),
    (extendable, "int4/2", 7),
    (tied, "int4/-1", 7),
    (untied, "int4/2", 7),
    (encoding, "int4/-1", 7),
]


@only_once
@pytest.mark.parametrize(
    ("build", "how", "size"),
    CASES,
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_other_sizes_are_those_of_keras(
    tmp_path: Path, build: Build, how: str, size: int
) -> None:
    source, made, wanted = (tmp_path / f"{n}.keras" for n in ("old", "new", "keras"))
    values = quantised(build, how, source, size)

    def with_ids(change: Callable[[np.ndarray, int], np.ndarray]) -> list[np.ndarray]:
        """The float weights with the axis over the ids changed, if they have one."""
        return [
            change(old, old.shape.index(size)) if size in old.shape else old
            for old in values
        ]

    rows = np.random.default_rng(1).normal(size=(3, 3 if build is encoding else DIM))
    rows = (rows / 4).astype("f4")
    unit = mean_unit(source) if build in HEADS else None

    def grown(old: np.ndarray, axis: int) -> np.ndarray:
        new = rows if axis == 0 and old.ndim == 2 else unit
        new = old.mean(dtype="f8") if old.ndim == 1 else new
        shape = [3 if a == axis else n for a, n in enumerate(old.shape)]
        return np.append(old, np.broadcast_to(new, shape), axis).astype("f4")

    kp.surgery.grow(source, made, rows=3, new_rows=rows)
    quantised(build, how, wanted, size + 3, with_ids(grown))
    assert_same(made, wanted)
    kp.surgery.remap(source, made, row_map=ORDER, overwrite=True)
    if build is encoding:  # Keras would choose scales anew for what is left.
        old, new = read(source).arrays, read(made).arrays
        kernel = "layers/dense/vars/0"
        assert same_bits(new[kernel], old[kernel][ORDER])
        return
    taken = with_ids(lambda old, axis: np.take(old, ORDER, axis))
    quantised(build, how, wanted, len(ORDER), taken)
    assert_same(made, wanted)


@pytest.mark.parametrize(
    "how", ["int8", pytest.param("int4", marks=packs_outputs), "int4/2"]
)
def test_the_new_file_loads_and_old_ids_keep_their_outputs(
    tmp_path: Path, how: str
) -> None:
    source, made = tmp_path / "old.keras", tmp_path / "new.keras"
    quantised(head, how, source, 7)
    for change in (
        lambda: kp.surgery.grow(source, made, rows=2),
        lambda: kp.surgery.trim(source, made, keep=[0, 5, 6], overwrite=True),
    ):
        change()
        assert kp.surgery.verify(source, made).verdict == "proved"


@only_once
@pytest.mark.parametrize("how", ["int8", "int4/2"])
def test_keras_shows_the_same_if_it_is_asked(tmp_path: Path, how: str) -> None:
    source = tmp_path / "old.keras"
    quantised(head, how, source, 7)
    known, asked = (kp.surgery.plan(source, rows=2, ask=ask) for ask in (False, True))
    assert known.arrays == asked.arrays
    assert kp.surgery.Plan.from_json(asked.to_json()).arrays == asked.arrays


@only_once
@pytest.mark.parametrize("how", ["int8", "int4"])
def test_a_table_inside_a_class_is_shown_with_its_scales(
    tmp_path: Path, how: str
) -> None:
    hub: Any = pytest.importorskip("keras_hub")
    if how == "int4" and not HAS_BLOCKS:
        pytest.skip("the table of KerasHub knows int8 alone with this Keras")
    small = {"hidden_dim": 8, "intermediate_dim": 16, "num_layers": 1, "num_heads": 2}
    made = hub.models.GPT2Backbone(50, max_sequence_length=12, **small)
    made.quantize(how)
    made.save(tmp_path / "old.keras")
    report = kp.surgery.grow(tmp_path / "old.keras", tmp_path / "new.keras", rows=3)
    assert report.certificate is not None
    assert report.certificate.verdict == "proved"
    roles = [change.role for change in report.plan.arrays]
    assert roles == ["embedding table", "scales", *["scales"] * (how == "int4")]


@only_once
def test_a_head_that_is_said_to_be_one_takes_its_scales_along(tmp_path: Path) -> None:
    source, larger, target = (tmp_path / f"{n}.keras" for n in ("a", "b", "c"))

    def classifier(size: int) -> keras.Model:
        x = layers.Embedding(size, DIM)(given := keras.Input((4,), dtype="int32"))
        pooled = layers.GlobalAveragePooling1D()(x)
        return keras.Model(given, layers.Dense(size, name="head")(pooled))

    for size, path in ((7, source), (9, larger)):
        keras.utils.clear_session(free_memory=False)
        model = classifier(size)
        model.quantize("int8")
        model.save(path)
    kp.surgery.grow(source, target, rows=2, also="head:1", ask=True)
    made, wanted = (read(path).arrays for path in (target, larger))
    assert {p: a.shape for p, a in made.items()} == {
        p: a.shape for p, a in wanted.items()
    }


def test_a_file_that_keras_saves_again_is_proved(tmp_path: Path) -> None:
    source, made, again = (tmp_path / f"{n}.keras" for n in ("old", "new", "again"))
    quantised(untied, "int8", source, 7)
    plan = kp.surgery.grow(source, made, rows=2).plan
    keras.models.load_model(made).save(again)
    assert kp.surgery.verify(source, again, plan=plan).verdict == "proved"


def test_a_plan_is_undone(tmp_path: Path) -> None:
    source, made, back = (tmp_path / f"{n}.keras" for n in ("old", "new", "back"))
    quantised(untied, "int4/2", source, 7)
    report = kp.surgery.grow(source, made, rows=2)
    kp.surgery.apply_plan(report.plan.inverse(), made, back)
    assert_same(back, source)


@only_once
@pytest.mark.parametrize("build", [transposed_head, encoding if HAS_BLOCKS else head])
def test_what_shares_scales_among_ids_is_refused(tmp_path: Path, build: Build) -> None:
    how = "int4/2" if HAS_BLOCKS else "int4"
    quantised(build, how, tmp_path / "old.keras", 7)
    with pytest.raises(AmbiguousVocabularyError, match=r"is quantised .int.*Grow the"):
        kp.surgery.plan(tmp_path / "old.keras", rows=1)


@only_once
@packs_outputs
@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("quantised", value) for value in (0, {}, "int4", [1])),
        *(("bits", value) for value in ([1], 5, "4", None)),
        *(("scale", value) for value in ("layers/dense/vars/1", "no", None)),
        *(("block", 0), ("packed", 0), ("length", -1), ("shared", 1), ("zero", None)),
    ],
)
def test_an_altered_plan_is_refused(tmp_path: Path, key: str, value: Any) -> None:
    quantised(head, "int4", tmp_path / "old.keras", 7)
    document = kp.surgery.plan(tmp_path / "old.keras", rows=2).to_json()
    change = next(c for c in document["arrays"] if c["role"] == "head kernel")
    (change if key == "quantised" else change["quantised"])[key] = value

    def carry_out() -> None:
        plan = kp.surgery.Plan.from_json(document)
        kp.surgery.apply_plan(plan, tmp_path / "old.keras", tmp_path / "new.keras")

    with pytest.raises(SurgeryError, match=r"Make a plan for|Expected"):
        carry_out()


@only_once
def test_new_rows_beyond_a_scale_that_they_share_are_refused(tmp_path: Path) -> None:
    quantised(encoding, "int8", tmp_path / "old.keras", 7)
    with pytest.raises(SurgeryError, match=r"too large.*Expected: 'mean'"):
        kp.surgery.grow(
            tmp_path / "old.keras", tmp_path / "new.keras", rows=1, new_rows=1e3
        )


def assert_same(left: Path, right: Path) -> None:
    one, other = read(left).arrays, read(right).arrays
    assert one.keys() == other.keys()
    for path, array in one.items():
        assert same_bits(array, other[path]), path
