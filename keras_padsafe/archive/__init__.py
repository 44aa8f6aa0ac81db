"""A saved Keras 3 model as its config and its lazily read arrays, without Keras."""

from keras_padsafe.archive.archive import Archive as Archive
from keras_padsafe.archive.archive import Asset as Asset
from keras_padsafe.archive.dtypes import decode as decode
from keras_padsafe.archive.dtypes import encode as encode
from keras_padsafe.archive.limits import Limits as Limits
from keras_padsafe.archive.new_array import NewArray as NewArray
from keras_padsafe.archive.new_array import Span as Span
from keras_padsafe.archive.open_archive import open_archive as open_archive
from keras_padsafe.archive.preset import COMPANIONS as COMPANIONS
from keras_padsafe.archive.stored_array import StoredArray as StoredArray
from keras_padsafe.archive.write_archive import write_archive as write_archive
from keras_padsafe.archive.write_preset import new_documents as new_documents
