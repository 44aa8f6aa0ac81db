"""Sequences in batches with little padding, or none."""

from keras_padsafe.data.bucket_by_length import bucket_by_length as bucket_by_length
from keras_padsafe.data.bucket_stream import bucket_stream as bucket_stream
from keras_padsafe.data.pack_sequences import pack_sequences as pack_sequences
from keras_padsafe.data.pack_stream import pack_stream as pack_stream
from keras_padsafe.data.sequence_dataset import SequenceDataset as SequenceDataset
from keras_padsafe.data.sequence_stream import SequenceStream as SequenceStream
from keras_padsafe.data.unpad_batches import unpad_batches as unpad_batches
