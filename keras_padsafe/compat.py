"""What has to come from inside Keras, in one place.

Checked on Keras 3.15.1. Keras offers no public way to read or set the mask that a
tensor carries; every layer of its own uses these two.
"""

from keras.src.backend import get_keras_mask as get_keras_mask
from keras.src.backend import set_keras_mask as set_keras_mask
