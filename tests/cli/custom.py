"""A class that no rule knows; a module of its own, for `verify --import`."""

from typing import Any

import keras


@keras.saving.register_keras_serializable("tests_cli")
class Prior(keras.layers.Layer):
    """Holds an array with an axis over the ids, and does not say so."""

    def build(self, input_shape: Any) -> None:
        self.prior = self.add_weight(shape=(50,), name="prior")

    def call(self, inputs: Any) -> Any:
        return inputs + keras.ops.sum(self.prior)
