"""`check_padding` finds every planted leak, and nothing in a model without one."""

import json
from functools import cache
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers as kl
from keras import ops

import keras_padsafe as kp
from keras_padsafe.audit import PaddingReport, check_padding
from keras_padsafe.errors import AuditError, MaskError

from .padding_zoo import (
    CLEAN,
    IDS,
    LEAKY,
    WIDTH,
    BetweenLayers,
    Case,
    MixMean,
    OverBatch,
    bert,
    embedding,
    functional,
    hub_batch,
    in_dtype,
    sequential,
)

# What Keras says while such a model is built is what is looked for here.
pytestmark = pytest.mark.filterwarnings("ignore:.*destroy the mask information")


@pytest.fixture(autouse=True)
def _start() -> None:
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(1)


def check(case: Any) -> PaddingReport:
    return check_padding(case.model, case.batch, case.pad_id)


@cache
def report_of(name: str) -> PaddingReport:
    """The report of a model of the zoo; several tests look at it."""
    return check({**CLEAN, **{f"leaky {n}": make for n, make in LEAKY.items()}}[name]())


class TestLeaks:
    @pytest.mark.parametrize("name", LEAKY)
    def test_planted_leak_is_found_and_named(self, name: str) -> None:
        case = LEAKY[name]()
        report = report_of(f"leaky {name}")
        assert not report.passed
        first = report.findings[0]
        assert first.place.split("/")[-1] == case.place
        assert first.code == case.code
        # One finding for each cause, not one for each variant.
        begun = {(f.place, f.message.partition(" (")[0]) for f in report}
        assert len(begun) == len(report)
        assert first.fix

    def test_a_second_leak_is_found_behind_the_first(self) -> None:
        model = sequential(
            kl.Conv1D(4, 3, padding="same", name="conv"),
            kl.GlobalMaxPooling1D(name="pool"),
        )
        report = check_padding(model, IDS, 0)
        assert [f.place for f in report] == ["conv", "pool"]
        assert "MaskedConv1D" in report.findings[0].fix
        assert "MaskedGlobalMaxPooling1D" in report.findings[1].fix

    def test_a_constant_offset_would_have_hidden_it(self) -> None:
        """LayerNormalization takes away what is added to every feature alike."""
        table = kl.Embedding(50, WIDTH, embeddings_initializer="normal")
        pool = kl.GlobalAveragePooling1D(name="pool")
        model = keras.Sequential([table, kl.LayerNormalization(epsilon=1e-9), pool])
        before = ops.convert_to_numpy(model(IDS))
        report = check_padding(model, IDS, 0)
        rows = table.get_weights()[0]
        rows[0] += 1.0
        table.set_weights([rows])
        offset = np.abs(ops.convert_to_numpy(model(IDS)) - before).max()
        assert offset < 1e-3
        moved = report.variants["random content"].moved
        assert moved is not None
        assert moved > 0.1
        assert report.findings[0].place == "pool"

    def test_a_leak_that_bfloat16_would_round_away(self) -> None:
        """The gradient, and content ten thousand times as large, still show it."""
        keras.config.set_dtype_policy("bfloat16")
        try:
            model = sequential(MixMean(1e-3), kl.GlobalAveragePooling1D())
        finally:
            keras.config.set_dtype_policy("float32")
        report = check_padding(model, IDS, 0)
        assert report.findings[0].place == "mix"
        assert report.variants["gradient"].verdict == "leak"

    def test_figures_say_how_far_and_where(self) -> None:
        report = report_of("leaky max")
        evidence = report.findings[0].evidence
        random = evidence["variants"]["random content"]
        assert random["moved"] == report.variants["random content"].moved
        assert random["moved"] > 8 * random["noise"] > 0
        assert 0 <= random["row"] < len(IDS)
        assert evidence["class"] == "GlobalMaxPooling1D"

    def test_the_picture_shows_padding_that_moves_and_real_positions_it_reaches(
        self,
    ) -> None:
        report = report_of("leaky convolution")
        by_path = {layer.path: layer for layer in report.layers}
        real = np.array(report.real)
        table = np.array(by_path["table"].positions)
        conv = np.array(by_path["conv"].positions)
        assert (table[real] == 0).all()
        assert (table[~real] > 0).all()
        # A kernel of three reaches one position back.
        assert (conv[np.flatnonzero(real)[:-1]] == 0).all()
        assert conv[real][-1] > 0

    def test_mask_that_never_arrived_is_said(self) -> None:
        report = report_of("leaky residual")
        assert report.findings[0].evidence["mask_arrived"] is False
        assert "No mask reaches it" in report.findings[0].message
        assert "MaskedAdd" in report.findings[0].fix

    def test_code_between_layers_is_placed_between_them(self) -> None:
        report = check_padding(BetweenLayers(), IDS, 0)
        assert [f.place for f in report] == ["mine"]
        assert (
            "change in BetweenLayers, between wide and head"
            in report.findings[0].message
        )
        assert "masked_mean" in report.findings[0].fix

    def test_layer_in_a_loop_of_ones_own_is_named(self) -> None:
        """JAX stages the code of a loop, and shows nothing of it by itself."""
        report = check_padding(sequential(_Repeats(), kl.LSTM(3)), IDS, 0)
        assert [f.place for f in report] == ["repeats/mix"]
        assert "MaskedConv1D" in report.findings[0].fix

    def test_hub_layer_that_ignores_the_mask(self) -> None:
        keras_hub = pytest.importorskip("keras_hub")
        model = functional(
            lambda ids: kl.GlobalAveragePooling1D()(
                keras_hub.layers.FNetEncoder(16, name="fourier")(embedding()(ids))
            )
        )
        report = check_padding(model, IDS, 0)
        assert report.findings[0].place == "fourier"
        assert "attention" in report.findings[0].fix

    def test_pad_id_that_the_model_does_not_mask(self) -> None:
        batch = np.where(IDS == 0, 49, IDS)
        report = check_padding(sequential(kl.GlobalAveragePooling1D()), batch, 49)
        assert report.findings[0].code == "PS402"
        assert report.findings[0].place == "global_average_pooling1d"


class TestCleanModels:
    @pytest.mark.parametrize("name", CLEAN)
    def test_nothing_is_found(self, name: str) -> None:
        report = report_of(name)
        # Models that count positions may differ with padding on the other side.
        assert report.passed, str(report)
        assert {f.code for f in report} <= {"PS403"}
        measured = [v for v in report.variants.values() if v.verdict != "skipped"]
        assert len(measured) >= 7

    def test_bert(self) -> None:
        pytest.importorskip("keras_hub")
        report = check(Case(bert(pooled=True), hub_batch()))
        assert report.passed, str(report)
        assert report.variants["other ids"].verdict == "same"

    def test_counting_positions_is_a_note(self) -> None:
        report = report_of("transformer")
        assert [f.code for f in report] == ["PS403"]
        assert report.variants["other side"].verdict == "moved"
        assert report.passed

    def test_content_behind_the_mask_changes_not_one_bit(self) -> None:
        variants = report_of("transformer").variants
        for name in ("random content", "large content", "NaN content", "gradient"):
            assert variants[name].verdict == "same"
            assert variants[name].moved == 0

    def test_nan_that_would_cross_is_said_but_no_finding(self) -> None:
        """Stock attention multiplies NaN by zero; ids bring no NaN."""
        report = report_of("stock attention")
        assert report.variants["NaN content"].verdict == "not finite"
        assert report.passed


class TestNoise:
    def test_it_is_measured(self) -> None:
        """Half the bits, a floor higher by as much; no model's floor is a constant."""
        floors = {
            policy: report.noise_floor
            for policy, report in (
                ("float32", check(in_dtype("float32"))),
                ("mixed_bfloat16", report_of("mixed_bfloat16")),
            )
        }
        assert 0 < floors["float32"] < 1e-4
        ratio = floors["mixed_bfloat16"] / floors["float32"]
        assert 1e3 < ratio < 1e6

    def test_a_random_model_is_as_noisy_as_its_random_numbers(self) -> None:
        assert report_of("random").noise_floor > 1e-3


class TestPadOutputs:
    def test_against_arithmetic_by_hand(self) -> None:
        case = CLEAN["tagger"]()
        found = check(case).pad_outputs
        assert found is not None
        vectors = ops.convert_to_numpy(case.model(IDS)).astype("float64")
        rows = [row for row, ids in zip(vectors, IDS, strict=True) if 0 in ids]
        kept = [ids for ids in IDS if 0 in ids]
        pairs = list(zip(rows, kept, strict=True))
        norms = [np.linalg.norm(v[i == 0], axis=-1) for v, i in pairs]
        assert found.padded_norm == pytest.approx(np.concatenate(norms).mean())
        everything = [v.mean(0) for v in rows]
        alone = [v[i != 0].mean(0) for v, i in pairs]
        means = list(zip(everything, alone, strict=True))
        shares = [np.linalg.norm(a - b) / np.linalg.norm(a) for a, b in means]
        assert found.share_of_mean == pytest.approx(np.mean(shares))
        cosines = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in means]
        assert found.cosine == pytest.approx(np.mean(cosines))
        assert found.path == "dense"

    def test_variance_goes_with_what_made_it(self) -> None:
        """An embedding and positions: padding differs by position alone."""
        model = functional(lambda ids: _Where()(embedding()(ids)))
        found = check_padding(model, IDS, 0).pad_outputs
        assert found is not None
        assert found.by_position == pytest.approx(1.0)
        assert found.by_sentence < 0.5

    def test_zeros_hold_nothing(self) -> None:
        model = sequential(kp.layers.MaskedConv1D(4, 3, padding="same", use_bias=False))
        found = check_padding(model, IDS, 0).pad_outputs
        assert found is not None
        assert found.padded_norm == 0
        assert found.by_position == found.by_sentence == 0


class _Repeats(kl.Layer):
    def __init__(self) -> None:
        super().__init__(name="repeats")
        self.mix = kl.Conv1D(WIDTH, 3, padding="same", name="mix")
        self.supports_masking = True

    def build(self, shape: Any) -> None:
        self.mix.build(shape)

    def call(self, x: Any) -> Any:
        return ops.fori_loop(0, 2, lambda _, x: self.mix(x), x)


class _Where(kl.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.supports_masking = True

    def call(self, x: Any) -> Any:
        steps = ops.cast(ops.arange(ops.shape(x)[1]), x.dtype)
        return x + steps[:, None] * ops.ones((WIDTH,), x.dtype)


class TestInputs:
    @pytest.mark.parametrize("kind", [list, tuple, dict])
    def test_structures(self, kind: type) -> None:
        a, b = (keras.Input((None,), dtype="int32", name=n) for n in ("a", "b"))
        table, pool = embedding(), kl.GlobalMaxPooling1D(name="pool")
        inputs = [table(a), table(b)]
        joined = kl.Concatenate()(
            [kl.GlobalAveragePooling1D()(inputs[0]), pool(inputs[1])]
        )
        if kind is dict:
            model = keras.Model({"a": a, "b": b}, joined)
            batch: Any = {"a": IDS, "b": IDS[:, :6].copy()}
        else:
            model = keras.Model([a, b], joined)
            batch = kind([IDS, IDS[:, :6].copy()])
        report = check_padding(model, batch, 0)
        assert [f.place for f in report] == ["pool"]

    def test_plain_lists_of_ids(self) -> None:
        assert check_padding(
            sequential(kl.GlobalAveragePooling1D()), IDS.tolist(), 0
        ).passed

    def test_ids_beside_segments_without_a_mask(self) -> None:
        """Nothing says which of two inputs is padded, until it is named."""
        ids = keras.Input((None,), dtype="int32", name="ids")
        kinds = keras.Input((None,), dtype="int32", name="kinds")
        x = kl.Embedding(50, WIDTH)(ids) + kl.Embedding(3, WIDTH)(kinds)
        pool = kl.GlobalAveragePooling1D(name="pool")
        model = keras.Model({"ids": ids, "kinds": kinds}, pool(x))
        batch = {"ids": IDS, "kinds": np.array([[0] * 3 + [1] * 5] * 4)}
        with pytest.raises(AuditError, match=r"Name that input: pad_id=\{'ids': 0\}"):
            check_padding(model, batch, 0)
        report = check_padding(model, batch, {"ids": 0})
        assert [f.place for f in report] == ["pool"]

    def test_several_pad_ids(self) -> None:
        batch = IDS.copy()
        batch[1, 6:] = 5
        batch[2, 4] = 4
        layers = [
            kp.layers.ExtendableEmbedding(50, WIDTH, pad_id=(0, 5)),
            kp.layers.MaskedGlobalAveragePooling1D(),
        ]
        report = check_padding(keras.Sequential(layers), batch, (0, 5))
        assert report.variants["other ids"].verdict == "same"
        assert report.passed

    def test_unknown_name(self) -> None:
        with pytest.raises(AuditError, match="there is no input 'words'"):
            check_padding(sequential(kl.GlobalAveragePooling1D()), IDS, {"words": 0})

    @pytest.mark.parametrize("pad_id", ["0", True, [0, "a"], {"ids": "0"}])
    def test_pad_id_that_is_no_number(self, pad_id: Any) -> None:
        with pytest.raises(AuditError, match=r"pad_id.*: expected a number"):
            check_padding(sequential(kl.GlobalAveragePooling1D()), IDS, pad_id)

    @pytest.mark.parametrize("audit", [check_padding, kp.audit.trace_masks])
    @pytest.mark.parametrize("built", [True, False])
    def test_id_that_a_table_has_no_row_for(self, audit: Any, built: bool) -> None:
        """Whatever the backend makes of it: an error, or a row of NaN."""
        layers = [
            kl.Embedding(40, WIDTH, mask_zero=True, name="words"),
            kl.GRU(3),
        ]
        inputs = [keras.Input((None,), dtype="int32")] if built else []
        kind = AuditError if audit is check_padding else MaskError
        said = r"of the 40 rows of 'words' .* 2 of 32 .* first at \[0, 5\]"
        with pytest.raises(kind, match=said):
            audit(keras.Sequential([*inputs, *layers]), IDS)

    def test_batch_without_padding(self) -> None:
        with pytest.raises(AuditError, match="batch: it has no padding"):
            check_padding(keras.Sequential([kl.Embedding(50, WIDTH)]), IDS[:1], 0)

    def test_batch_of_nothing_but_padding(self) -> None:
        with pytest.raises(AuditError, match="every row is only padding"):
            check_padding(
                sequential(kl.GlobalAveragePooling1D()), np.zeros((2, 8), "int32"), 0
            )

    def test_mask_that_hides_nothing(self) -> None:
        case = CLEAN["explicit mask"]()
        batch = case.batch | {"padding_mask": np.ones_like(IDS)}
        with pytest.raises(AuditError, match="every position is real"):
            check_padding(case.model, batch, 0)

    def test_model_whose_answer_is_nan(self) -> None:
        model = sequential(kl.Dense(4), kl.Dense(3, name="head"))
        model(IDS)
        kernel, bias = model.get_layer("head").get_weights()
        model.get_layer("head").set_weights([kernel, bias * np.nan])
        with pytest.raises(AuditError, match="find_nonfinite"):
            check_padding(model, IDS, 0)

    def test_empty_rows_are_not_judged_and_said(self) -> None:
        assert report_of("empty row").empty_rows == (4,)


class TestReport:
    @pytest.mark.parametrize("name", ["transformer", "leaky flatten"])
    def test_it_is_plain_data(self, name: str) -> None:
        report = report_of(name)
        data = json.loads(json.dumps(report.to_json(), allow_nan=False))
        assert data["passed"] == report.passed
        assert set(data["variants"]) == set(report.variants)
        assert len(data["layers"]) == len(report.layers) > 0

    def test_the_model_stays_as_it_is(self) -> None:
        model = sequential(
            kl.BatchNormalization(),
            kl.Dropout(0.5),
            kl.GlobalAveragePooling1D(),
            kl.Dense(4),
        )
        model.compile("adam", "mse")
        model.fit(IDS, np.zeros((4, 4)), epochs=1, verbose=0)
        before = [ops.convert_to_numpy(v).copy() for v in model.variables]
        check_padding(model, IDS, 0)
        for old, variable in zip(before, model.variables, strict=True):
            assert np.array_equal(old, ops.convert_to_numpy(variable))


def test_rows_that_depend_on_others_are_told_though_padding_counts_there_too() -> None:
    mean = OverBatch(name="centre")
    mean.supports_masking = True
    x = kl.Embedding(50, WIDTH, mask_zero=True)(ids := keras.Input((None,)))
    model = keras.Model(ids, kl.GlobalAveragePooling1D()(mean(x)))
    (finding,) = check_padding(model, np.array([[5, 8, 3, 9], [7, 4, 0, 0]]))
    assert (finding.code, finding.place) == ("PS404", "centre")
    assert {"random content", "other mates"} <= finding.evidence["variants"].keys()
