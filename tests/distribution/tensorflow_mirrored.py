"""MirroredStrategy on two devices: as one device.

Run by `test_many_devices.py` in a process of its own, which has two devices.
"""

import keras
import numpy as np
import tensorflow as tf

from tests.distribution.tagger import tagger, train


def main() -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    two = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, two)
    keras.utils.set_random_seed(0)
    single = tagger(8)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        mirrored = tagger(8)
    mirrored.set_weights(single.get_weights())
    assert strategy.num_replicas_in_sync == 2
    np.testing.assert_allclose(train(mirrored), train(single), atol=1e-6)


if __name__ == "__main__":
    main()
