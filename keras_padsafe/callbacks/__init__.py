"""Callbacks for `fit`."""

from keras_padsafe.callbacks.nonfinite_guard import GuardedBatch as GuardedBatch
from keras_padsafe.callbacks.nonfinite_guard import NonFiniteGuard as NonFiniteGuard
