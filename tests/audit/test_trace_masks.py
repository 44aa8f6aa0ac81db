"""`trace_masks`: what becomes of each mask, and which loss of one does harm."""

import json
import warnings

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_padsafe as kp
from keras_padsafe.audit import trace_masks
from keras_padsafe.compat import get_keras_mask
from keras_padsafe.errors import MaskError

pytestmark = pytest.mark.filterwarnings("ignore:.*destroy the mask information")

IDS = np.array([[1, 2, 3, 4], [5, 6, 0, 0], [7, 0, 0, 0]], "int32")
OTHER_IDS = np.array([[1, 2, 0, 0], [5, 6, 3, 0], [7, 1, 2, 0]], "int32")


@pytest.fixture(autouse=True)
def _same_names_and_weights():
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)


def tokens(ids):
    return layers.Embedding(9, 8, mask_zero=True, name="tokens")(ids)


def trace(build, batch=IDS, length: int | None = 4):
    ids = keras.Input((length,), dtype="int32")
    return trace_masks(keras.Model(ids, build(ids)), batch)


def row_of(found, path):
    return next(row for row in found.rows if row.path == path)


def codes(found):
    return [(finding.code, finding.place) for finding in found]


# What Keras's layers do with the mask of their input, as measured on a tensor that
# carries one: `get_keras_mask` of what comes out.
SURVIVE = {
    "Activation": lambda: layers.Activation("relu"),
    "BatchNormalization": layers.BatchNormalization,
    "Bidirectional": lambda: layers.Bidirectional(
        layers.SimpleRNN(2, return_sequences=True)
    ),
    "Dense": lambda: layers.Dense(3),
    "Dropout": lambda: layers.Dropout(0.5),
    "GRU": lambda: layers.GRU(2, return_sequences=True),
    "GaussianNoise": lambda: layers.GaussianNoise(1.0),
    "Identity": layers.Identity,
    "LayerNormalization": layers.LayerNormalization,
    "PReLU": layers.PReLU,
    "Rescaling": lambda: layers.Rescaling(2.0),
    "SpatialDropout1D": lambda: layers.SpatialDropout1D(0.5),
    "TimeDistributed": lambda: layers.TimeDistributed(layers.Dense(3)),
    "UnitNormalization": layers.UnitNormalization,
}
DROPPED = {
    "AveragePooling1D": lambda: layers.AveragePooling1D(2),
    "Conv1D": lambda: layers.Conv1D(3, 2, padding="same"),
    "Cropping1D": lambda: layers.Cropping1D((0, 1)),
    "EinsumDense": lambda: layers.EinsumDense("btd,de->bte", (None, 5)),
    "Flatten": layers.Flatten,
    "Lambda": lambda: layers.Lambda(lambda x: 2 * x),
    "MaxPooling1D": lambda: layers.MaxPooling1D(2),
    "Permute": lambda: layers.Permute((2, 1)),
    "RMSNormalization": layers.RMSNormalization,
    "Reshape": lambda: layers.Reshape((4, 2, 4)),
    "UpSampling1D": lambda: layers.UpSampling1D(2),
    "ZeroPadding1D": lambda: layers.ZeroPadding1D((0, 1)),
}
SILENT = {
    "Multiply": lambda x: x * 2.0,
    "Add": lambda x: x + x,
    "GetItem": lambda x: x[:, :2],
    "Relu": ops.relu,
    "Concatenate": lambda x: ops.concatenate([x, x], axis=-1),
}


def side_by_side(builders):
    """Layers in one model, each with an output: one trace tells of all of them."""
    made = {name: build() for name, build in builders.items()}

    def build(ids):
        x = tokens(ids)
        return [layer(x) for layer in made.values()]

    return made, trace(build)


def test_masks_that_survive_are_kept():
    made, found = side_by_side(SURVIVE)
    masked = layers.Embedding(9, 8, mask_zero=True)(IDS)
    for name, layer in made.items():
        assert get_keras_mask(layer(masked)) is not None, name
        row = row_of(found, layer.name)
        states = (row.mask_in, row.mask_out, row.events)
        assert states == (("mask",), ("mask",), ("kept",)), name
    assert found.passed, str(found)


@pytest.mark.parametrize("first", range(0, len(DROPPED), 4))
def test_masks_that_layers_drop(first):
    some = dict(list(DROPPED.items())[first : first + 4])
    made, found = side_by_side(some)
    masked = layers.Embedding(9, 8, mask_zero=True)(IDS)
    for name, layer in made.items():
        assert get_keras_mask(layer(masked)) is None, name
        row = row_of(found, layer.name)
        assert (row.mask_in, row.mask_out) == (("mask",), ("none",)), name
        assert "dropped" in row.events, name
        assert any(finding.place == layer.name for finding in found), name


def test_masks_that_operations_drop_silently():
    found = trace(
        lambda ids: [drop(x) for x in [tokens(ids)] for drop in SILENT.values()]
    )
    rows = [row for row in found.rows if row.class_name in SILENT]
    assert sorted(row.class_name for row in rows) == sorted(SILENT)
    assert {(row.mask_out, row.events) for row in rows} == {(("none",), ("dropped",))}
    assert sorted(codes(found)) == sorted(("PS305", row.path) for row in rows)
    assert {finding.severity for finding in found} == {"warning"}


def attended(x, name="attention"):
    return layers.MultiHeadAttention(2, 4, name=name)(x, x)


def pooled(x):
    return layers.GlobalAveragePooling1D(name="pool")(x)


def test_a_drop_is_found_where_it_harms():
    found = trace(lambda ids: attended(tokens(ids) * 2.0))
    assert ("PS301", "multiply") in codes(found)
    finding = found.findings[0]
    assert finding.evidence["read_by"] == ["attention"]
    assert finding.evidence["last_seen"] == "tokens"
    assert finding.evidence["padded_share"] == pytest.approx(5 / 12, abs=1e-3)
    assert "'attention' (MultiHeadAttention) reads padding" in finding.message
    assert "MaskedAdd" in str(found) or "KeepMask" in finding.fix
    assert not found.passed


def test_tokens_plus_positions_lose_the_mask():
    def build(ids):
        positions = layers.Embedding(9, 8, name="positions")(ids * 0)
        return attended(layers.Add(name="sum")([tokens(ids), positions]))

    found = trace(build)
    assert ("PS301", "sum") in codes(found)
    assert "keras_padsafe.layers.MaskedAdd" in found.findings[0].fix


def test_attention_counts_the_states_that_a_reader_repeats_over_padding():
    """What padding holds never enters; how much there is of it does."""

    def build(ids):
        x = tokens(ids)
        states = layers.GRU(8, return_sequences=True)(x)
        query = layers.GRU(8)(x)[:, None]
        return layers.Attention(name="attention")([query, states * 0.5])

    found = trace(build, length=None)
    assert codes(found) == [("PS301", "multiply")]
    assert found.findings[0].evidence["read_by"] == ["attention"]


def test_a_loss_counts_the_states_that_a_reader_repeats_over_padding():
    def build(ids):
        return ops.sigmoid(layers.GRU(8, return_sequences=True)(tokens(ids)))

    assert codes(trace(build, length=None)) == [("PS305", "sigmoid")]


def without(label):
    return keras.losses.SparseCategoricalCrossentropy(ignore_class=label)


@pytest.mark.parametrize(
    ("loss", "counting"),
    [
        (None, [0, 1]),
        (without(None), [0, 1]),
        (kp.losses.MaskedLoss("mse"), [0, 1]),
        (without(0), []),
        (kp.losses.MaskedLoss("mse", pad_label=-1), []),
        (kp.losses.MaskedLoss(without(-1)), []),
        (["mse", without(-1)], [0]),
        ({"states": without(-1), "tags": "mse"}, [1]),
    ],
)
def test_a_loss_that_leaves_the_label_of_padding_out_does_not_count_it(loss, counting):
    ids = keras.Input((None,), dtype="int32")
    x = layers.SimpleRNN(8, return_sequences=True)(tokens(ids))
    tags = layers.UnitNormalization(name="tags")(ops.tanh(x))
    model = keras.Model(ids, [layers.Identity(name="states")(ops.softmax(x)), tags])
    model.compile("sgd", loss)
    found = trace_masks(model, IDS)
    assert sorted(f.evidence["output"] for f in found) == counting


def test_the_second_user_of_an_erased_mask():
    def build(ids):
        x = tokens(ids)
        return attended(x, "first") + attended(x, "second")

    found = trace(build)
    assert codes(found)[0] == ("PS303", "first")
    assert found.findings[0].evidence["read_by"] == ["second"]
    assert "MaskedMultiHeadAttention" in found.findings[0].fix
    assert row_of(found, "first").mask_after == ("none",)
    assert row_of(found, "first").events == ("erased", "kept")


def test_a_residual_loses_the_mask_to_the_layer_that_erased_it():
    def build(ids):
        x = tokens(ids)
        x = layers.Add(name="residual")([x, attended(x, "first")])
        return pooled(attended(x, "second"))

    assert codes(trace(build)) == [("PS303", "first")]


def test_one_memory_for_three_attentions():
    source = keras.Input((4,), dtype="int32")
    target = keras.Input((4,), dtype="int32")
    memory, x = tokens(source), layers.Embedding(9, 8, mask_zero=True)(target)
    for number in range(3):
        x = layers.MultiHeadAttention(2, 4, name=f"cross_{number}")(x, memory)
    found = trace_masks(keras.Model([source, target], pooled(x)), [IDS, OTHER_IDS])
    assert codes(found) == [("PS303", "cross_0")]
    assert found.findings[0].evidence["read_by"] == ["cross_1", "cross_2"]


def test_one_use_of_attention_does_no_harm():
    found = trace(lambda ids: pooled(attended(tokens(ids))))
    assert found.passed, str(found)
    assert "erased" in row_of(found, "attention").events


@pytest.mark.parametrize(
    "build",
    [
        lambda: layers.Conv1D(3, 2, padding="same", name="reader"),
        lambda: layers.GlobalMaxPooling1D(name="reader"),
        lambda: layers.UnitNormalization(axis=1, name="reader"),
        lambda: layers.Lambda(lambda x: ops.mean(x, 1), name="reader"),
    ],
)
def test_a_layer_that_ignores_its_mask(build):
    found = trace(lambda ids: build()(tokens(ids)))
    assert codes(found)[0] == ("PS302", "reader")
    assert "gets a mask" in found.findings[0].message
    assert "ignored" in row_of(found, "reader").events


def test_a_mask_not_passed_on_by_name():
    def build(ids):
        real = ops.not_equal(ids, 0)
        x = layers.Embedding(9, 8)(ids)
        heads = layers.MultiHeadAttention(2, 4, name="heads")
        x = heads(x, x, attention_mask=real[:, None])
        return pooled(x)

    found = trace(build)
    assert codes(found) == [("PS302", "pool")]
    assert "that 'heads' gets" in found.findings[0].message


@pytest.mark.parametrize(
    ("build", "place"),
    [
        (
            lambda ids: layers.Concatenate(name="join")(
                [tokens(ids), layers.Embedding(9, 8)(ids)]
            ),
            "join",
        ),
        (lambda ids: layers.Masking(name="again")(tokens(ids)), "again"),
    ],
    ids=["Concatenate", "Masking"],
)
def test_a_mask_from_nowhere(build, place):
    found = trace(lambda ids: pooled(build(ids)))
    assert codes(found) == [("PS304", place)]
    assert row_of(found, place).mask_out == ("all True",)
    assert row_of(found, place).events == ("from nowhere",)
    # A loss would count the padding too.
    assert codes(trace(build)) == [("PS304", place)]


def test_a_sum_of_two_masks_that_shows_padding():
    first, second = (keras.Input((4,), dtype="int32") for _ in range(2))
    parts = [layers.Embedding(9, 8, mask_zero=True)(ids) for ids in (first, second)]
    model = keras.Model([first, second], pooled(layers.Add(name="sum")(parts)))
    assert codes(trace_masks(model, [IDS, OTHER_IDS])) == [("PS304", "sum")]
    assert trace_masks(model, [IDS, IDS]).passed


class Written(keras.Model):
    """A model whose own code does what `body` says."""

    def __init__(self, body):
        super().__init__(name="written")
        self.body = body
        self.tokens = layers.Embedding(9, 8, mask_zero=True, name="tokens")
        self.attention = layers.MultiHeadAttention(2, 4, name="attention")
        self.pool = layers.GlobalAveragePooling1D(name="pool")
        self.head = layers.Dense(2, name="head")

    def build(self, shape):
        self.tokens.build(shape)
        self.attention.build((*shape, 8), (*shape, 8))
        self.head.build((shape[0], 8))

    def call(self, ids):
        return self.body(self, ids)


def by_hand(model, ids):
    x = model.tokens(ids)
    real = ops.cast(ids != 0, x.dtype)
    total = ops.sum(x * real[..., None], 1)
    return model.head(total / ops.maximum(ops.sum(real, 1, keepdims=True), 1))


def attention_by_hand(model, ids):
    x = model.tokens(ids)
    scores = ops.matmul(x, ops.transpose(x, (0, 2, 1)))
    scores = ops.where((ids != 0)[:, None], scores, -1e9)
    return model.head(ops.matmul(ops.softmax(scores), x)[:, 0])


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (lambda m, i: m.head(m.pool(m.tokens(i) * 2.0)), ("PS301", "written", "pool")),
        (
            lambda m, i: m.head(m.pool((x := m.tokens(i)) + m.attention(x, x))),
            ("PS301", "written", "pool"),
        ),
        (lambda m, i: m.head(ops.mean(m.tokens(i), 1)), ("PS302", "written", "head")),
        (lambda m, i: ops.mean(m.tokens(i), 1), ("PS302", "written", "written")),
    ],
    ids=["scale", "residual", "mean", "mean at the end"],
)
def test_operations_that_are_no_layers(body, expected):
    code, place, reader = expected
    found = trace_masks(Written(body), IDS)
    assert codes(found) == [(code, place)]
    assert found.findings[0].evidence["read_by"] == [reader]


@pytest.mark.parametrize(
    "body",
    [
        by_hand,
        attention_by_hand,
        lambda m, i: m.head(m.tokens(i)[:, 0]),
        lambda m, i: m.head(m.pool(m.tokens(i))),
    ],
    ids=["mean by hand", "attention by hand", "first token", "pool"],
)
def test_a_written_model_that_is_right(body):
    found = trace_masks(Written(body), IDS)
    assert found.passed, str(found)


def our_encoder(ids):
    x = kp.layers.ExtendableEmbedding(9, 8, pad_id=0)(ids)
    for _ in range(2):
        attention = kp.layers.MaskedMultiHeadAttention(2, 4)
        x = kp.layers.MaskedAdd()([x, attention(x, x)])
        x = layers.LayerNormalization()(x)
    return kp.layers.MaskedGlobalMaxPooling1D()(kp.layers.MaskedConv1D(4, 2)(x))


def scores_by_operations(ids):
    x = tokens(ids)
    scores = ops.matmul(x, ops.transpose(x, (0, 2, 1)))
    scores = scores + ops.cast(ops.equal(ids[:, None], 0), "float32") * -1e9
    return ops.matmul(ops.softmax(scores), x)[:, 0]


HEALTHY = {
    "our encoder": our_encoder,
    "masked rnn": lambda ids: layers.SimpleRNN(3)(tokens(ids)),
    "grouped attention": lambda ids: pooled(
        layers.GroupQueryAttention(4, 2, 1)(x := tokens(ids), x)
    ),
    "attention": lambda ids: pooled(layers.Attention()([tokens(ids)] * 2)),
    "kept by hand": lambda ids: pooled(
        kp.layers.KeepMask()([2.0 * (x := tokens(ids)), x])
    ),
    "scores by operations": scores_by_operations,
    "sum of zeros": lambda ids: ops.sum(kp.layers.MaskedConv1D(4, 2)(tokens(ids)), 1),
    "first token": lambda ids: layers.Dense(2)(tokens(ids)[:, 0]),
    "per step": lambda ids: layers.Dense(2)(layers.LayerNormalization()(tokens(ids))),
    "unmasked model": lambda ids: layers.Flatten()(layers.Embedding(9, 4)(ids)),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_model_has_no_finding(name):
    found = trace(HEALTHY[name])
    assert not list(found), str(found)


def test_a_minimum_of_what_is_filled_in_is_healthy():
    def build(ids):
        return ops.min(ops.where((ids != 0)[..., None], tokens(ids), np.inf), axis=1)

    assert not list(trace(build, length=None))


def test_another_input_without_padding_is_left_alone():
    ids = keras.Input((4,), dtype="int32")
    other = keras.Input((4, 3))
    x = layers.Flatten()(layers.Conv1D(2, 2)(other))
    model = keras.Model([ids, other], layers.Concatenate()([pooled(tokens(ids)), x]))
    found = trace_masks(model, (IDS, np.ones((3, 4, 3), "float32")))
    assert not list(found), str(found)
    assert [row.path for row in found.rows] == ["tokens", "pool"]


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision(policy):
    keras.config.set_dtype_policy(policy)
    try:
        assert not list(trace(our_encoder))
        conv = layers.Conv1D(3, 2, padding="same", name="conv")
        found = trace(lambda ids: pooled(conv(tokens(ids))))
    finally:
        keras.config.set_dtype_policy("float32")
    assert {place for _, place in codes(found)} == {"conv"}


def test_a_model_in_a_model():
    inner_x = keras.Input((4, 8))
    inner = keras.Model(inner_x, ops.relu(layers.Dense(8)(inner_x)), name="inner")
    found = trace(lambda ids: pooled(inner(tokens(ids))))
    assert codes(found) == [("PS301", "inner/relu")]


def test_batches_of_every_kind():
    ids = keras.Input((4,), dtype="int32", name="ids")
    model = keras.Model({"ids": ids}, pooled(tokens(ids)))
    assert trace_masks(model, {"ids": IDS}).passed
    assert trace(lambda ids: pooled(tokens(ids)), IDS.tolist()).passed
    sequential = keras.Sequential([layers.Embedding(9, 4, mask_zero=True)])
    assert [row.events for row in trace_masks(sequential, IDS).rows] == [("born",)]


def test_a_batch_without_padding_is_refused():
    with pytest.raises(MaskError, match="it has no padding"):
        trace(lambda ids: pooled(tokens(ids)), np.ones((2, 4), "int32"))


def test_what_is_no_model_is_refused():
    with pytest.raises(
        MaskError, match="expected a Keras model or layer; received str"
    ):
        trace_masks("model.keras", IDS)  # pyright: ignore[reportArgumentType]


def test_the_model_stays_as_it_is():
    ids = keras.Input((4,), dtype="int32")
    x = layers.BatchNormalization()(layers.Dropout(0.5)(tokens(ids)))
    model = keras.Model(ids, pooled(layers.Conv1D(3, 2)(x)))
    before = [variable.numpy().copy() for variable in model.variables]
    answers = ops.convert_to_numpy(model(IDS))
    call = layers.Layer.__call__
    trace_masks(model, IDS)
    assert layers.Layer.__call__ is call
    for old, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, variable.numpy())
    np.testing.assert_array_equal(answers, ops.convert_to_numpy(model(IDS)))


def test_keras_is_silent_while_it_is_traced():
    model = Written(lambda m, ids: layers.Flatten()(m.tokens(ids)))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trace_masks(model, IDS)
    assert not [w for w in caught if "destroy the mask" in str(w.message)]


def test_scores_that_are_masked_later_are_not_blamed_for_another_layer():
    def build(ids):
        other = layers.Embedding(9, 8, mask_zero=True)(ids)
        worst = layers.GlobalMaxPooling1D(name="worst")(other)
        return layers.Concatenate()([scores_by_operations(ids), worst])

    found = trace(build)
    assert codes(found) == [("PS302", "worst")]
    # The table blames what the findings blame, and nothing else.
    assert "ignored" in row_of(found, "worst").events
    assert "ignored" not in row_of(found, "matmul").events


def test_the_report_is_a_table_and_plain_data():
    found = trace(lambda ids: attended(tokens(ids) * 2.0))
    lines = str(found).splitlines()
    assert lines[0].split() == ["call", *"class mask in used mask out event".split()]
    assert any(
        line.split() == ["tokens", "Embedding", "mask", "born"] for line in lines
    )
    assert "PS301 error at multiply" in str(found)
    data = json.loads(json.dumps(found.to_json()))
    assert data["rows"][0]["path"] == "tokens"
    assert data["rows"][0]["events"] == ["born"]
    assert data["passed"] is False
    assert "no layer makes" in str(trace(HEALTHY["unmasked model"]))


def test_keras_hub_models():
    hub = pytest.importorskip("keras_hub")
    backbone = hub.models.BertBackbone(
        vocabulary_size=9,
        num_layers=1,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=8,
        max_sequence_length=4,
    )
    batch = {"token_ids": IDS, "segment_ids": 0 * IDS, "padding_mask": IDS != 0}
    assert not list(trace_masks(backbone, batch))
    inputs = backbone.input
    x = backbone(inputs)["sequence_output"]
    mask = ops.cast(inputs["padding_mask"], "bool")
    right = kp.layers.MaskedGlobalAveragePooling1D()(x, mask=mask)
    assert not list(trace_masks(keras.Model(inputs, right), batch))
    found = trace_masks(keras.Model(inputs, pooled(x)), batch)
    assert codes(found) == [("PS302", "pool")]


def test_keras_hub_attention_that_ignores_a_mask():
    hub = pytest.importorskip("keras_hub")
    cached = hub.layers.CachedMultiHeadAttention(2, 4, name="cached")
    found = trace(lambda ids: cached(x := tokens(ids), x)[:, 0])
    assert codes(found) == [("PS302", "cached")]
