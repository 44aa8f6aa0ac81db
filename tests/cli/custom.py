"""Classes that no rule knows; a module of its own, for `--import`."""

from typing import Any

import keras

print("tests.cli.custom is imported")


class Sized(keras.layers.Layer):
    """Knows how many ids there are, and says so in its configuration."""

    def __init__(self, size: int, **options: Any) -> None:
        super().__init__(**options)
        self.size = size

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size}


@keras.saving.register_keras_serializable("tests_cli")
class Prior(Sized):
    """Holds an array with an axis of that size, which may run over the ids."""

    def build(self, input_shape: Any) -> None:
        self.prior = self.add_weight(shape=(self.size,), name="prior")

    def call(self, inputs: Any) -> Any:
        return inputs + keras.ops.sum(self.prior)


@keras.saving.register_keras_serializable("tests_cli")
class Words(Sized):
    """Has a table of its own."""

    def __init__(self, size: int, **options: Any) -> None:
        super().__init__(size, **options)
        self.table = keras.layers.Embedding(size, 4, name="table")

    def build(self, input_shape: Any) -> None:
        self.table.build(input_shape)

    def call(self, inputs: Any) -> Any:
        return self.table(inputs)


@keras.saving.register_keras_serializable("tests_cli")
class Shared(Words):
    """Shares a weight out among the ids, so that more of them change every answer."""

    def call(self, inputs: Any) -> Any:
        return super().call(inputs) / float(self.size)


@keras.saving.register_keras_serializable("tests_cli")
class Doubled(keras.layers.Layer):
    """Holds nothing, so that surgery need not ask Keras about it."""

    def call(self, inputs: Any) -> Any:
        return 2.0 * inputs
