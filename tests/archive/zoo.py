"""One small model of each kind that Keras stores differently."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

BUILDERS: dict[str, Callable[[], Any]] = {}


def _register(builder: Callable[[], Any]) -> Callable[[], Any]:
    BUILDERS[builder.__name__] = builder
    return builder


def make(name: str, folder: Path) -> Path:
    """Builds the model called `name` and saves it as a `.keras` file."""
    import keras

    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    path = folder / f"{name}.keras"
    with keras_may_warn():
        BUILDERS[name]().save(path)
    return path


def load(path: Path) -> Any:
    """The model that Keras makes of a file."""
    import keras

    with keras_may_warn():
        return keras.models.load_model(path)


def to_numpy(tensor: Any) -> np.ndarray:
    """A tensor or variable of any backend, in float32."""
    import keras

    with keras_may_warn():
        return np.asarray(keras.ops.convert_to_numpy(tensor), "float32")


@contextmanager
def keras_may_warn() -> Iterator[None]:
    """Warnings are errors in these tests; those of Keras itself are not ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@_register
def sequential() -> Any:
    return _classifier()


@_register
def adam_trained() -> Any:
    import keras

    model = _classifier()
    model.compile(keras.optimizers.Adam(), "mse")
    model.fit(np.ones((4, 3), "int32"), np.ones((4, 2)), verbose=0)
    return model


@_register
def bfloat16() -> Any:
    return _classifier(dtype="bfloat16")


@_register
def float16() -> Any:
    return _classifier(dtype="float16")


@_register
def mixed() -> Any:
    return _classifier(dtype="mixed_float16")


@_register
def int8() -> Any:
    model = _classifier()
    model.quantize("int8")
    return model


@_register
def functional() -> Any:
    from keras import Input, Model, layers

    ids = Input((3,), dtype="int32")
    embedded = layers.Embedding(11, 4, name="words")(ids)
    context = layers.LSTM(4)(embedded / 2.0)
    pooled = layers.BatchNormalization()(layers.Flatten()(embedded))
    return Model(ids, layers.Dense(2)(layers.Concatenate()([context, pooled])))


@_register
def nested() -> Any:
    from keras import Input, Sequential

    return Sequential([Input((3,), dtype="int32"), functional()])


@_register
def many_layers() -> Any:
    from keras import Input, Sequential, layers

    return Sequential([Input((2,)), *(layers.Dense(2) for _ in range(100))])


@_register
def string_lookup() -> Any:
    from keras import Input, Sequential, layers

    lookup = layers.StringLookup()
    lookup.adapt(np.array(["red", "green", "green", "größer"]))
    return Sequential([Input((3,), dtype="string"), lookup, layers.Embedding(4, 2)])


@_register
def text_vectorization() -> Any:
    from keras import Input, Sequential, layers

    split = layers.TextVectorization(output_mode="tf_idf")
    split.adapt(np.array(["a red house", "a green one"]))
    return Sequential([Input((), dtype="string"), split])


def _classifier(dtype: str = "float32") -> Any:
    from keras import Input, Sequential, layers

    return Sequential(
        [
            Input((3,), dtype="int32"),
            layers.Embedding(11, 4, dtype=dtype),
            layers.Flatten(dtype=dtype),
            layers.Dense(2, dtype=dtype),
        ]
    )
