"""Models that take their ids in every way there is, each built at any size."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers, ops

SIZE, ADDED, STEPS, DIM = 11, 3, 5, 4

serializable = keras.saving.register_keras_serializable("tests_proof")
Build = Callable[[int], keras.Model]


def ids(name: str = "ids", dtype: str = "int32") -> keras.KerasTensor:
    return keras.Input((STEPS,), dtype=dtype, name=name)


def table(size: int, name: str = "words") -> keras.Layer:
    return layers.Embedding(size, DIM, name=name)


def flat(*parts: Any) -> Any:
    joined = layers.Concatenate()(list(parts)) if len(parts) > 1 else parts[0]
    return layers.Dense(2)(layers.Flatten()(joined))


def dictionary_of_inputs(size: int) -> keras.Model:
    x, mask = ids("z"), keras.Input((STEPS,), dtype="bool", name="y")
    features = keras.Input((3,), name="x")
    h = layers.GlobalAveragePooling1D()(table(size)(x), mask=mask)
    h = layers.Concatenate()([h, features])
    return keras.Model({"z": x, "y": mask, "x": features}, layers.Dense(2)(h))


def sentences_of_words(size: int) -> keras.Model:
    x = keras.Input((3, STEPS), dtype="int32")
    return keras.Model(x, flat(table(size)(x)))


def float_ids(size: int) -> keras.Model:
    return keras.Model(x := ids(dtype="float32"), flat(table(size)(x)))


def one_input_in_two_tables(size: int) -> keras.Model:
    """The other one is smaller, and so bounds what may enter."""
    x = ids()
    return keras.Model(x, flat(table(size)(x), table(SIZE - 2, "few")(x)))


def columns_of_one_input(size: int) -> keras.Model:
    pair = keras.Input((2,), dtype="int32", name="pair")
    left, right = table(size)(pair[:, 0]), table(SIZE, "items")(pair[:, 1])
    return keras.Model(pair, layers.Dot(axes=1)([left, right]))


def ids_that_start_at_one(size: int) -> keras.Model:
    """Ids are computed: what enters the table is one more than the input."""
    x = ids()
    return keras.Model(x, flat(table(size)(x + 1)))


def ids_that_start_at_minus_one(size: int) -> keras.Model:
    """What enters the table is one less than the input."""
    x = ids()
    return keras.Model(x, flat(table(size)(x - 1)))


def ids_into_table_and_head(size: int) -> keras.Model:
    x = ids()
    h = layers.Dense(size, name="head")(table(size)(x))
    return keras.Model(x, [h, layers.Flatten()(table(size, "same")(x))])


def any_length(size: int) -> keras.Model:
    x = keras.Input((None,), dtype="int32")
    return keras.Model(x, layers.Dense(size, activation="softmax")(table(size)(x)))


def no_more_than_four_steps(size: int) -> keras.Model:
    x = keras.Input((None,), dtype="int32")
    return keras.Model(x, layers.Dense(2)(Positions(size, 4)(x)))


@serializable
class Positions(layers.Layer):
    """Adds a table of positions, which it counts itself."""

    def __init__(self, size: int, steps: int = STEPS, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size, self.steps = size, steps
        self.words, self.places = table(size), layers.Embedding(steps, DIM)

    def build(self, shape: Any) -> None:
        self.words.build(shape)
        self.places.build(())

    def call(self, x: Any) -> Any:
        return self.words(x) + self.places(ops.arange(ops.shape(x)[1]))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size, "steps": self.steps}


def positions_inside(size: int) -> keras.Model:
    return keras.Model(x := ids(), layers.Dense(size, name="head")(Positions(size)(x)))


@serializable
class Subclassed(keras.Model):
    """A model that says nothing of its inputs but their shapes."""

    def __init__(self, size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = size
        self.words, self.head = table(size), layers.Dense(2)

    def get_config(self) -> dict[str, Any]:
        return {"size": self.size}

    def build(self, shape: Any) -> None:
        self.words.build(shape)
        self.head.build((None, DIM))

    def call(self, x: Any) -> Any:
        return self.head(ops.mean(self.words(x), 1))


def subclassed(size: int) -> keras.Model:
    model = Subclassed(size)
    model(np.zeros((2, STEPS), "int32"))
    return model


@serializable
class OfADictionary(Subclassed):
    """The same for a dictionary of ids and features."""

    def build(self, shape: Any) -> None:
        self.words.build(shape["ids"])
        self.head.build((None, DIM + 3))

    def call(self, x: Any) -> Any:
        h = ops.mean(self.words(x["ids"]), 1)
        return self.head(ops.concatenate([h, x["features"]], -1))


def subclassed_of_a_dictionary(size: int) -> keras.Model:
    model = OfADictionary(size)
    model({"ids": np.zeros((2, STEPS), "int32"), "features": np.zeros((2, 3), "f4")})
    return model


@serializable
class HandWritten(layers.Layer):
    """Looks its table up itself."""

    def __init__(self, size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = size

    def build(self, shape: Any) -> None:
        self.table = self.add_weight(shape=(self.size, DIM), name="table")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size}

    def call(self, x: Any) -> Any:
        return ops.take(self.table, x, axis=0)


def hand_written(size: int) -> keras.Model:
    return keras.Model(x := ids(), flat(HandWritten(size)(x)))


@serializable
class Unseen(HandWritten):
    """The same in a way that cannot be watched."""

    def call(self, x: Any) -> Any:
        columns = ops.expand_dims(x, -1) == ops.arange(self.size)
        return ops.matmul(ops.cast(columns, "float32"), self.table)


def unseen(size: int) -> keras.Model:
    return keras.Model(x := ids(), flat(Unseen(size)(x)))


@serializable
class Noisy(layers.Layer):
    """Gives something else each time that it runs."""

    def call(self, x: Any) -> Any:
        return x + np.random.normal()


def noisy(size: int) -> keras.Model:
    return keras.Model(x := ids(), Noisy()(table(size)(x)))


@serializable
class IntoRange(layers.Layer):
    """Brings ids into range by itself."""

    def __init__(self, how: str, number: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.how, self.number = how, number

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "how": self.how, "number": self.number}

    def call(self, x: Any) -> Any:
        match self.how:
            case "modulo":
                return x % self.number
            case "divided":
                return x // self.number
            case "clipped":
                return ops.clip(x, 0, self.number - 1)
            case "unknown":
                return ops.where(x < self.number, x, ops.ones_like(x))
            case "below":
                return ops.where(x < 0, self.number - 1, x)


def _into_range(size: int, how: str, number: int) -> keras.Model:
    return keras.Model(x := ids(), flat(table(size)(IntoRange(how, number)(x))))


def modulo(size: int) -> keras.Model:
    return _into_range(size, "modulo", size)


def clipped(size: int) -> keras.Model:
    return _into_range(size, "clipped", size)


def divided_by_size(size: int) -> keras.Model:
    return _into_range(size, "divided", size)


def divided_by_ten(size: int) -> keras.Model:
    return _into_range(size, "divided", 10)


def unknown_beyond(size: int) -> keras.Model:
    return _into_range(size, "unknown", size)


def unknown_below(size: int) -> keras.Model:
    return _into_range(size, "below", size)


def chosen_again(size: int) -> keras.Model:
    """Looks up the ids that a head of its own chose."""
    x, words = ids(), table(size)
    scores = layers.Dense(size, name="head")(words(x))
    return keras.Model(x, flat(words(ops.argmax(scores, axis=-1))))


def unknown_from_a_number_on(size: int) -> keras.Model:
    return _into_range(size, "unknown", SIZE + 1)


def smaller_table_beside(size: int) -> keras.Model:
    """Ids that the other table lacks read its row 1."""
    x = ids()
    few = table(SIZE - 2, "few")(IntoRange("unknown", SIZE - 2)(x))
    return keras.Model(x, flat(table(size)(x), few))


def head_that_stays(size: int) -> keras.Model:
    return keras.Model(x := ids(), layers.Dense(SIZE, name="head")(table(size)(x)))


@serializable
class Scaled(layers.Layer):
    """Gives the one number by which it scales, too."""

    def build(self, shape: Any) -> None:
        self.scale = self.add_weight(shape=(), initializer="ones", name="scale")

    def call(self, x: Any) -> Any:
        return x * self.scale, ops.exp(self.scale)


def one_number_beside(size: int) -> keras.Model:
    return keras.Model(x := ids(), list(Scaled()(table(size)(x))))


PROVED: list[Build] = [
    dictionary_of_inputs,
    sentences_of_words,
    float_ids,
    columns_of_one_input,
    ids_that_start_at_one,
    ids_into_table_and_head,
    any_length,
    no_more_than_four_steps,
    positions_inside,
    subclassed,
    subclassed_of_a_dictionary,
    hand_written,
    one_number_beside,
]
