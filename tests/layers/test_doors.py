"""What Keras offers a layer, it offers ours: export, quantizing, copies, summaries.

Each test takes one model with every kind of layer, and the stock model beside it: what
works there works here, and gives the model's own answers.
"""

import copy
import inspect
import io
import pickle
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import keras_padsafe as kp
from tests.compiled import read_by_tensorflow

pytestmark = pytest.mark.filterwarnings("ignore")  # Of stock layers, and exporters.
BACKEND = keras.backend.backend()
IDS = np.array([[5, 7, 3, 0, 0], [3, 0, 0, 0, 0], [1, 2, 3, 4, 5]], "int32")
DIM = 16


def stock() -> Any:
    """The layers of Keras that ours stand for."""
    ids = keras.Input((5,), dtype="int32", name="ids")
    x = layers.Embedding(50, DIM, mask_zero=True)(ids)
    x = layers.Add()([x, layers.MultiHeadAttention(2, 8)(x, x)])
    x = layers.GroupQueryAttention(8, 4, 2)(x, x)
    x = layers.Attention()([x, x])
    x = layers.Conv1D(DIM, 2, padding="same")(x)
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(ids, layers.Dense(3)(x))


def ours() -> Any:
    """The same with ours, and those that have no model in Keras."""
    ids = keras.Input((5,), dtype="int32", name="ids")
    x = kp.layers.ExtendableEmbedding(50, DIM, pad_id=0)(ids)
    x = kp.layers.MaskedAdd()([x, kp.layers.MaskedMultiHeadAttention(2, 8)(x, x)])
    x = kp.layers.MaskedGroupQueryAttention(8, 4, 2)(x, x)
    x = kp.layers.MaskedAttention()([x, x])
    x = kp.layers.MaskedConv1D(DIM, 2, padding="same")(x)
    x = kp.layers.KeepMask()([kp.layers.NaNMasking()(x), x])
    x = kp.layers.RealTokens(layers.Dense(DIM, "relu"))(x)
    x = kp.layers.MaskedGlobalAttentionPooling1D()(x)
    return keras.Model(ids, layers.Dense(3)(x))


def answers(model: Any) -> Any:
    return model.predict(IDS, verbose=0)


@pytest.fixture(scope="module")
def model() -> Any:
    """One of ours, for tests that leave it as it is."""
    return ours()


def of_saved_model(path: Path) -> Any:
    tf = pytest.importorskip("tensorflow")
    loaded = tf.saved_model.load(str(path))  # Held: it owns the variables.
    try:
        return loaded.serve(tf.constant(IDS)).numpy()
    except tf.errors.InvalidArgumentError as error:
        if "Cannot deserialize computation" not in str(error):
            raise
        pytest.skip("this TensorFlow does not read what this JAX writes")


def of_litert(path: Path) -> Any:
    import tensorflow as tf

    interpreter = tf.lite.Interpreter(str(path))
    (taken,), (given,) = (
        interpreter.get_input_details(),
        interpreter.get_output_details(),
    )
    interpreter.resize_tensor_input(taken["index"], IDS.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(taken["index"], IDS.astype(taken["dtype"]))
    interpreter.invoke()
    return interpreter.get_tensor(given["index"])


def of_torch(path: Path) -> Any:
    import torch

    made = torch.export.load(str(path)).module()  # Keras makes it for one row.
    rows = [made(torch.as_tensor(row[None])).detach().numpy() for row in IDS]
    return np.concatenate(rows)


def of_onnx(path: Path) -> Any:
    import onnx
    from onnx.reference import ReferenceEvaluator

    (taken,) = onnx.load(str(path)).graph.input
    run = ReferenceEvaluator(str(path)).run
    return np.concatenate([run(None, {taken.name: row[None]})[0] for row in IDS])


EXPORTS = {
    "tf_saved_model": ("saved", of_saved_model, ("tensorflow", "jax")),
    "litert": ("model.tflite", of_litert, ("tensorflow",)),
    "torch": ("model.pt2", of_torch, ("torch",)),
    "onnx": ("model.onnx", of_onnx, ("torch",)),
}


@pytest.mark.parametrize(
    "to", [name for name in EXPORTS if BACKEND in EXPORTS[name][2]]
)
def test_an_exported_model_answers_as_the_model_does(to: str, tmp_path: Path) -> None:
    name, answer, _ = EXPORTS[to]
    if to == "onnx":
        pytest.importorskip("onnxscript")
    if to == "tf_saved_model":
        pytest.importorskip("tensorflow")
    for make in (stock, ours):
        model = make()
        path = tmp_path / make.__name__ / name
        path.parent.mkdir()
        expected = answers(model)
        try:  # Keras 3.14 writes LiteRT to a string only.
            model.export(str(path), format=to, verbose=False)
        except ValueError as error:
            if "Unrecognized format" not in str(error):
                raise
            pytest.skip("this Keras has no such format")
        with read_by_tensorflow():
            given = answer(path)
        np.testing.assert_allclose(given, expected, atol=1e-4)


def refusal(model: Any, to: str, path: Path) -> tuple[type, str] | None:
    """What Keras says to a format that it does not write here."""
    answers(model)
    try:
        model.export(path, format=to, verbose=False)
    except Exception as error:
        return type(error), str(error)[:60]
    return None


@pytest.mark.parametrize(
    "to", [name for name in EXPORTS if BACKEND not in EXPORTS[name][2]]
)
def test_a_format_that_stock_keras_refuses_is_refused_alike(
    to: str, tmp_path: Path
) -> None:
    name, *_ = EXPORTS[to]
    first, second = (refusal(make(), to, tmp_path / name) for make in (stock, ours))
    assert first == second
    if to == "torch":
        assert first


KINDS = {
    "embedding": (
        lambda: layers.Embedding(50, DIM),
        lambda: kp.layers.ExtendableEmbedding(50, DIM, pad_id=0),
    ),
    "attention": (
        lambda: layers.MultiHeadAttention(2, 8),
        lambda: kp.layers.MaskedMultiHeadAttention(2, 8),
    ),
}
# Keras cannot load what it saved of these.
LOST = ("attention",)


@pytest.mark.parametrize("mode", ["int8", "int4", "float8"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_quantized_layer_answers_and_is_saved_as_that_of_keras(
    kind: str, mode: str, tmp_path: Path
) -> None:
    ids = keras.Input((5,), dtype="int32")
    for make in KINDS[kind]:
        x = ids if kind == "embedding" else layers.Embedding(50, DIM)(ids)
        model = keras.Model(ids, make()(*[x] * (1 if kind == "embedding" else 2)))
        before = model(IDS[2:])
        model.quantize(mode)
        after = model(IDS[2:])
        before, after = map(keras.ops.convert_to_numpy, (before, after))
        np.testing.assert_allclose(after, before, atol=0.1)
        model.save(tmp_path / "model.keras")
        if kind in LOST:
            with pytest.raises(ValueError, match="could not be loaded"):
                keras.saving.load_model(tmp_path / "model.keras")
            continue
        loaded = keras.saving.load_model(tmp_path / "model.keras")(IDS[2:])
        loaded = keras.ops.convert_to_numpy(loaded)
        np.testing.assert_allclose(loaded, after, atol=1e-6)


@pytest.mark.parametrize(
    "copied",
    [
        lambda model: pickle.loads(pickle.dumps(model)),
        copy.deepcopy,
        lambda model: type(model).from_config(model.get_config()),
        keras.models.clone_model,
    ],
    ids=["pickle", "deepcopy", "config", "clone_model"],
)
def test_a_copy_is_the_model(copied: Any, model: Any) -> None:
    made = copied(model)
    made.set_weights(model.get_weights())
    first, second = map(keras.ops.convert_to_numpy, (made(IDS), model(IDS)))
    np.testing.assert_array_equal(first, second)


def test_a_summary_and_a_plot_name_every_layer(model: Any) -> None:
    said = io.StringIO()
    model.summary(print_fn=lambda line, **_: said.write(line), line_length=200)
    for layer in model.layers:
        assert type(layer).__name__ in said.getvalue()
    pytest.importorskip("pydot")
    dot = keras.utils.model_to_dot(model, show_shapes=True).to_string()
    assert "MaskedGroupedQueryAttention" in dot


def short(embedding: Any, attention: Any, pooling: Any) -> Any:
    ids = keras.Input((5,), dtype="int32")
    x = embedding(ids)
    return keras.Model(ids, pooling(attention(x, x)))


def short_stock() -> Any:
    return short(
        layers.Embedding(50, DIM, mask_zero=True),
        layers.MultiHeadAttention(2, 8),
        layers.GlobalAveragePooling1D(),
    )


def short_ours() -> Any:
    return short(
        kp.layers.ExtendableEmbedding(50, DIM, pad_id=0),
        kp.layers.MaskedMultiHeadAttention(2, 8),
        kp.layers.MaskedGlobalAveragePooling1D(),
    )


def test_a_summary_has_no_more_rows_than_that_of_keras() -> None:
    """What makes a mask is a row of it; reading a mask adds none."""
    for model in (short_stock(), short_ours()):
        beside = [one for one in model.operations if one not in model.layers]
        assert [type(one).__name__ for one in beside] == ["NotEqual"]


@pytest.mark.skipif(not shutil.which("dot"), reason="Keras draws with Graphviz's dot")
def test_a_plot_is_as_large_as_that_of_keras(tmp_path: Path) -> None:
    pytest.importorskip("pydot")
    sizes = []
    for make in (short_stock, short_ours):
        path = tmp_path / f"{make.__name__}.png"
        keras.utils.plot_model(make(), str(path))
        with Image.open(path) as picture:
            assert len(picture.convert("L").getcolors()) > 1  # ink on paper
            sizes.append(picture.height)
    assert sizes[0] == sizes[1] > 100


def test_low_rank_updates_train() -> None:
    model = ours()
    for layer in model._flatten_layers():
        if hasattr(layer, "enable_lora") and layer.built:
            layer.enable_lora(2)
    model.compile(keras.optimizers.SGD(0.1), "mse", run_eagerly=BACKEND != "jax")
    old = model.get_weights()
    model.train_on_batch(IDS, np.ones((3, 3)))
    moved = zip(old, model.get_weights(), strict=True)
    assert sum((one != two).any() for one, two in moved) >= 5


@pytest.mark.skipif(BACKEND != "torch", reason="compiles with torch")
def test_torch_compiles_the_model(model: Any) -> None:
    import torch

    with torch.no_grad():
        made = torch.compile(model, backend="eager")(torch.as_tensor(IDS))
    np.testing.assert_allclose(made.cpu().numpy(), answers(model), atol=1e-5)


SEQUENCE = (None, 5, DIM)
SHAPES: dict[str, tuple[Any, Any]] = {
    "MaskedAdd": (lambda: kp.layers.MaskedAdd(), [SEQUENCE, (1, 5, 1)]),
    "KeepMask": (lambda: kp.layers.KeepMask(), [SEQUENCE, SEQUENCE]),
    "MaskedAttention": (lambda: kp.layers.MaskedAttention(), [SEQUENCE, SEQUENCE]),
    "MaskedConv1D": (lambda: kp.layers.MaskedConv1D(3, 2), SEQUENCE),
    "MaskedSoftmax": (lambda: kp.layers.MaskedSoftmax(), SEQUENCE),
    "MaskedSegmentPooling1D": (
        lambda: kp.layers.MaskedSegmentPooling1D(3),
        [SEQUENCE, SEQUENCE[:2]],
    ),
    "NaNMasking": (lambda: kp.layers.NaNMasking(), SEQUENCE),
    "RealTokens": (lambda: kp.layers.RealTokens(layers.Conv1D(3, 1)), SEQUENCE),
    "ExtendableEmbedding": (
        lambda: kp.layers.ExtendableEmbedding(9, 3, pad_id=0),
        (None, 5),
    ),
    **{
        f"MaskedGlobal{kind}Pooling1D": (
            getattr(kp.layers, f"MaskedGlobal{kind}Pooling1D"),
            SEQUENCE,
        )
        for kind in ("Average", "Max", "Sum", "First", "Last", "Attention")
    },
}


def test_every_layer_stands_here() -> None:
    attention = {"MaskedMultiHeadAttention", "MaskedGroupQueryAttention"}
    attention.add("MaskedGroupedQueryAttention")
    public = {name for name in vars(kp.layers) if name[0].isupper()}
    assert public == {*SHAPES, *attention}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_are_told_before_there_are_values(name: str) -> None:
    make, taken = SHAPES[name]
    several = isinstance(taken, list)
    layer = make()
    told = layer.compute_output_shape(taken)
    inputs = [
        keras.Input(batch_shape=shape) for shape in (taken if several else [taken])
    ]
    spec = make().compute_output_spec(inputs if several else inputs[0])
    values = [np.zeros([2 if n is None else n for n in x.shape]) for x in inputs]
    real = layer(values if several else values[0])
    assert tuple(told) == tuple(spec.shape)
    assert tuple(2 if n is None else n for n in told) == tuple(real.shape)


@pytest.mark.parametrize(
    "make",
    [
        lambda: kp.layers.MaskedMultiHeadAttention(2, 8),
        lambda: kp.layers.MaskedGroupQueryAttention(8, 4, 2),
    ],
)
def test_shapes_of_attention_with_another_memory(make: Any) -> None:
    layer, query, memory = make(), (None, 5, DIM), (None, 7, DIM)
    assert tuple(layer.compute_output_shape(query, memory)) == query
    spec = layer.compute_output_spec(*map(keras.KerasTensor, (query, memory)))
    assert tuple(spec.shape) == query


@keras.saving.register_keras_serializable("tests.doors")
class Block(layers.Layer):
    """Attention and a dense layer, as blocks that Keras quantizes one after another."""

    def __init__(self, attention: Any, **options: Any) -> None:
        super().__init__(**options)
        self.attention, self.dense = attention, layers.Dense(DIM)

    def build(self, shape: Any) -> None:
        self.attention.build(shape, shape)
        self.dense.build(shape)

    def call(self, x: Any) -> Any:
        return self.dense(x + self.attention(x, x))


@pytest.mark.parametrize("mode", ["gptq", "awq"])
def test_quantized_by_examples_as_that_of_keras(mode: str, tmp_path: Path) -> None:
    config = getattr(keras.quantizers, f"{mode.upper()}Config", None)
    known = inspect.signature(config).parameters if config else {}
    if "quantization_layer_structure" not in known:
        pytest.skip(f"this Keras has no {mode}, or finds its blocks by itself alone")
    made, weights = [], None
    for embedding, attention in zip(
        KINDS["embedding"], KINDS["attention"], strict=True
    ):
        table, block = embedding(), Block(attention())
        ids = keras.Input((5,), dtype="int32")
        model = keras.Model(ids, layers.Dense(3)(block(table(ids))))
        weights = weights or model.get_weights()
        model.set_weights(weights)
        before = model.predict(IDS[2:], verbose=0)
        parts = {"pre_block_layers": [table], "sequential_blocks": [block]}
        asked = config(
            dataset=[IDS[2:]] * 2,
            tokenizer=lambda text: text,
            num_samples=2,
            sequence_length=5,
            group_size=-1,
            quantization_layer_structure=parts,
        )
        model.quantize(mode, config=asked)
        assert block.attention.query_dense.quantization_mode == mode
        made.append(model.predict(IDS[2:], verbose=0))
        # Its configuration now names layers of the model itself, without an end.
        with pytest.raises(RecursionError):
            model.save(tmp_path / "model.keras")
        assert 0 < np.abs(made[-1] - before).max() < 0.1
    # Sums are taken in another order on each run, also of one and the same layer.
    np.testing.assert_allclose(*made, rtol=1e-5, atol=1e-7)


def test_a_tuner_searches(tmp_path: Path) -> None:
    keras_tuner = pytest.importorskip("keras_tuner")
    if BACKEND == "tensorflow":
        pytest.importorskip("tensorboard")  # It writes for this one there.

    def build(choice: Any) -> Any:
        ids = keras.Input((5,), dtype="int32")
        x = kp.layers.ExtendableEmbedding(50, choice.Choice("dim", [2, 4]), pad_id=0)(
            ids
        )
        x = kp.layers.MaskedGlobalAveragePooling1D()(x)
        model = keras.Model(ids, layers.Dense(1)(x))
        model.compile("sgd", "mse")
        return model

    tuner = keras_tuner.GridSearch(build, "loss", directory=tmp_path)
    tuner.search(IDS, np.ones((3, 1)), verbose=0)
    (best,) = tuner.get_best_models()
    assert np.isfinite(best.predict(IDS, verbose=0)).all()
