"""Sequences in batches with little padding, or none."""

from keras_padsafe.data.buckets import Buckets as Buckets
from keras_padsafe.data.packing import Packing as Packing
from keras_padsafe.data.sequence_dataset import SequenceDataset as SequenceDataset
from keras_padsafe.data.sequence_stream import SequenceStream as SequenceStream
from keras_padsafe.data.unpad_batches import unpad_batches as unpad_batches
