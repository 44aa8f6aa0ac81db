"""A saved model built by Keras from its configuration, with shapes and no values.

Two skeletons that differ in one number of the configuration show what follows it.
"""

from keras_padsafe.skeleton.build import NotBuilt as NotBuilt
from keras_padsafe.skeleton.build import Skeleton as Skeleton
from keras_padsafe.skeleton.build import build as build
from keras_padsafe.skeleton.build import is_registered as is_registered
from keras_padsafe.skeleton.build import serialized as serialized
from keras_padsafe.skeleton.look_inside import Inside as Inside
from keras_padsafe.skeleton.look_inside import look_inside as look_inside
from keras_padsafe.skeleton.on_ids import column_key as column_key
from keras_padsafe.skeleton.tokenizer import BuiltTokenizer as BuiltTokenizer
from keras_padsafe.skeleton.tokenizer import build_tokenizer as build_tokenizer
from keras_padsafe.skeleton.variation import Variation as Variation
from keras_padsafe.skeleton.variation import output_shapes as output_shapes
from keras_padsafe.skeleton.variation import variation as variation
