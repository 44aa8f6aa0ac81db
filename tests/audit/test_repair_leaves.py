"""What repair cannot mend it leaves as it is, and says so and why."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_padsafe as kp
from keras_padsafe.archive import open_archive, write_archive
from keras_padsafe.facts.swaps import SWAPS

from ..surgery.reference import only_once, run_python
from .leaky_models import DIM, SIZE, Build, ids, tokens

pytestmark = pytest.mark.filterwarnings("ignore:.*mask:UserWarning")


@keras.saving.register_keras_serializable("tests_repair")
class Block(keras.layers.Layer):
    """A custom layer that holds an attention layer."""

    def __init__(self, attention: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.attention = attention or layers.MultiHeadAttention(2, 4)

    def build(self, shape: Any) -> None:
        if not self.attention.built:
            self.attention.build(shape, shape)

    def call(self, x: Any) -> Any:
        return x + self.attention(x, x)

    def get_config(self) -> dict[str, Any]:
        inner = keras.saving.serialize_keras_object(self.attention)
        return {**super().get_config(), "attention": inner}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Block":
        inner = keras.saving.deserialize_keras_object(config.pop("attention"))
        return cls(inner, **config)


@keras.saving.register_keras_serializable("tests_repair")
class Subclassed(keras.Model):
    """A model that says nothing of its layers."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.table, self.pool = tokens(), layers.GlobalMaxPooling1D()

    def call(self, x: Any) -> Any:
        return self.pool(self.table(x))


@keras.saving.register_keras_serializable("tests_repair")
class Positions(keras.layers.Layer):
    """A table and positions, with a mask that the file does not speak of."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.words, self.places = tokens(), layers.Embedding(9, DIM)

    def build(self, shape: Any) -> None:
        self.words.build(shape)
        self.places.build(())

    def call(self, x: Any) -> Any:
        return self.words(x) + self.places(ops.arange(ops.shape(x)[1]))

    def compute_mask(self, x: Any, mask: Any = None) -> Any:
        return self.words.compute_mask(x)


def of(*behind: Any, steps: int | None = 6) -> keras.Model:
    return keras.Sequential([ids(steps=steps), tokens(), *behind])


def calling(function: Any) -> keras.Model:
    words = ids(steps=6)
    return keras.Model(words, function(tokens()(words)))


def custom() -> keras.Model:
    return of(Block(name="block"), layers.Dense(2))


def subclassed() -> keras.Model:
    model = Subclassed(name="odd")
    model(np.ones((2, 3), "int32"))
    return model


def strided() -> keras.Model:
    return of(layers.Conv1D(4, 3, strides=2, padding="same", name="c"))


def of_other_ranks() -> keras.Model:
    words, extra = ids(steps=6), keras.Input((DIM,))
    return keras.Model([words, extra], layers.Add(name="sum")([tokens()(words), extra]))


def additive() -> keras.Model:
    return calling(lambda x: layers.AdditiveAttention(name="a")([x, x]))


def reduced_by_hand() -> keras.Model:
    return calling(lambda x: ops.mean(x, axis=1))


UNMENDED: list[tuple[Build, str, str, str]] = [
    (custom, "PS306", "block", "its own code decides"),
    (subclassed, "PS306", "odd", "does not list its inner layers"),
    (strided, "PS302", "c", "strides"),
    (of_other_ranks, "PS302", "sum", "ranks"),
    (additive, "PS302", "a", "mixes real steps with padding"),
    (reduced_by_hand, "PS302", "mean", "reduces over time"),
    (lambda: of(layers.Flatten(name="f")), "PS301", "f", "drops the mask"),
    (lambda: of(layers.MaxPooling1D(name="m")), "PS301", "m", "drops the mask"),
    (
        lambda: of(layers.GroupNormalization(4, name="g")),
        "PS302",
        "g",
        "mixes real steps with padding",
    ),
    (
        lambda: of(layers.LayerNormalization(axis=[1, 2], name="n")),
        "PS302",
        "n",
        "mixes real steps with padding",
    ),
    (lambda: calling(ops.gelu), "PS301", "gelu", "keeps the mask"),
    (lambda: calling(lambda x: x[:, :3]), "PS301", "get_item", "keeps the mask"),
    (lambda: calling(lambda x: x * x), "PS301", "multiply", "keeps the mask"),
]


@pytest.mark.parametrize(("build", "code", "place", "why"), UNMENDED)
def test_what_is_left_is_listed(
    build: Build, code: str, place: str, why: str, tmp_path: Path
) -> None:
    keras.utils.clear_session(free_memory=False)
    build().save(tmp_path / "old.keras")
    report = kp.audit.repair(tmp_path / "old.keras", tmp_path / "new.keras")
    (finding,) = report.findings
    assert (finding.code, finding.place) == (code, place)
    assert why in finding.message
    assert finding.fix.endswith(".")
    assert report.swapped == ()
    assert not report.passed
    assert keras.models.load_model(tmp_path / "new.keras").count_params() > 0


def test_behind_a_custom_table_layers_are_swapped_all_the_same(tmp_path: Path) -> None:
    """Nothing says that it makes no mask, and ours do no harm without one."""
    words = ids()
    x = Positions()(words)
    x = layers.Add()([x, layers.MultiHeadAttention(2, 4)(x, x)])
    model = keras.Model(words, layers.GlobalAveragePooling1D()(x))
    model.save(tmp_path / "old.keras")
    report = kp.audit.repair(tmp_path / "old.keras", tmp_path / "new.keras")
    assert report.passed
    assert len(report.swapped) == 2
    padded = np.array([[3, 4, 5, 0, 0, 0]], "int32")
    trimmed = keras.Model(words, x)(padded[:, :3])
    expected = keras.ops.convert_to_numpy(trimmed).mean(axis=1)
    mended = keras.models.load_model(tmp_path / "new.keras")
    found = keras.ops.convert_to_numpy(mended(padded))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_layer_that_a_custom_one_shares_stays(tmp_path: Path) -> None:
    x = tokens()(words := ids(steps=6))
    shared = layers.MultiHeadAttention(2, 4, name="shared")
    y = Block(shared, name="block")(shared(x, x))
    keras.Model(words, y).save(tmp_path / "old.keras")
    report = kp.audit.repair(tmp_path / "old.keras", tmp_path / "new.keras")
    assert report.swapped == ()
    places = {finding.place: finding.code for finding in report.findings}
    assert places == {"shared": "PS302", "block": "PS306"}


def test_a_configuration_of_the_future_stays(tmp_path: Path) -> None:
    of(layers.GlobalMaxPooling1D(name="top")).save(tmp_path / "old.keras")
    with open_archive(tmp_path / "old.keras") as archive:
        config = archive.config
        assert config is not None
        config["config"]["layers"][-1]["config"]["quantile"] = 0.9
        write_archive(tmp_path / "newer.keras", archive, config=config)
    report = kp.audit.repair(tmp_path / "newer.keras", tmp_path / "new.keras")
    (finding,) = report.findings
    assert "does not take its configuration 'quantile'" in finding.message
    assert report.swapped == ()


def test_a_mask_without_a_batch_axis_stays(tmp_path: Path) -> None:
    square = keras.Input(batch_shape=(6, 6), dtype="bool", name="square")
    x = layers.Embedding(SIZE, DIM)(words := ids(steps=6))
    y = layers.MultiHeadAttention(2, 4)(x, x, attention_mask=square)
    keras.Model([words, square], y).save(tmp_path / "old.keras")
    report = kp.audit.repair(tmp_path / "old.keras", tmp_path / "new.keras")
    (finding,) = report.findings
    assert "attention_mask has no batch axis" in finding.message


def test_a_proof_that_cannot_run_is_skipped(tmp_path: Path) -> None:
    """In a process that does not know the class of the model."""
    save = """
        import keras, sys
        class Odd(keras.layers.Layer):
            def call(self, x):
                return x
        ids = keras.Input((4,), dtype="int32")
        x = keras.layers.Embedding(9, 4, mask_zero=True)(ids)
        y = keras.layers.GlobalMaxPooling1D()(x)
        keras.Model(ids, Odd()(y)).save(sys.argv[1])
    """
    run_python(save, tmp_path / "old.keras")
    report = kp.audit.repair(tmp_path / "old.keras", tmp_path / "new.keras")
    assert len(report.swapped) == 1
    assert [check.status for check in report.checks] == ["skipped"]
    assert "'Odd'" in report.checks[0].detail
    assert "--import MODULE" in report.checks[0].detail
    assert report.verdict == "not proved"


@only_once
@pytest.mark.parametrize("stock", SWAPS)
def test_every_key_of_a_stock_layer_is_known(stock: str) -> None:
    arguments: dict[str, Any] = {
        "MultiHeadAttention": {"num_heads": 2, "key_dim": 4},
        "GroupQueryAttention": {
            "head_dim": 4,
            "num_query_heads": 2,
            "num_key_value_heads": 1,
        },
        "Conv1D": {"filters": 2, "kernel_size": 3},
    }
    layer = getattr(layers, stock)(**arguments.get(stock, {}))
    swap, config = SWAPS[stock], layer.get_config()
    assert swap.unknown_keys(config) == []
    ours = getattr(kp.layers, swap.class_name)
    assert swap.registered_name == keras.saving.get_registered_name(ours)
    assert swap.module == ours.__module__
    again = ours.from_config(config).get_config()
    assert {key: again[key] for key in config} == config


@only_once
def test_the_change_itself_runs_no_keras(tmp_path: Path) -> None:
    of(layers.GlobalMaxPooling1D()).save(tmp_path / "old.keras")
    printed = run_python(
        """
        import sys
        import keras_padsafe as kp
        report = kp.audit.repair(sys.argv[1], sys.argv[2], prove=False)
        loaded = {"keras", "tensorflow", "jax", "torch"} & set(sys.modules)
        print(len(report.swapped), sorted(loaded))
        """,
        tmp_path / "old.keras",
        tmp_path / "new.keras",
    )
    assert printed.strip() == "1 []"


@only_once
def test_hub_models_are_listed_not_guessed(tmp_path: Path) -> None:
    keras_hub = pytest.importorskip("keras_hub")
    bert = keras_hub.models.BertBackbone(SIZE, 1, 2, DIM, 9, max_sequence_length=6)
    bert.save(tmp_path / "bert.keras")
    report = kp.audit.repair(tmp_path / "bert.keras", tmp_path / "new.keras")
    assert [finding.code for finding in report.findings] == ["PS306"]
    assert report.swapped == ()

    words = ids(steps=6)
    x = keras_hub.layers.TokenAndPositionEmbedding(SIZE, 6, DIM, mask_zero=True)(words)
    x = keras_hub.layers.TransformerEncoder(9, 2, name="encoder")(x)
    model = keras.Model(words, layers.GlobalAveragePooling1D()(x))
    model.save(tmp_path / "own.keras")
    report = kp.audit.repair(tmp_path / "own.keras", tmp_path / "mended.keras")
    (finding,) = report.findings
    assert (finding.code, finding.place) == ("PS306", "encoder")
    assert [one.old for one in report.swapped] == ["GlobalAveragePooling1D"]
    assert all(check.status != "failed" for check in report.checks)
