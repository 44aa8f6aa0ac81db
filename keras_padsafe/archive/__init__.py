"""A saved Keras 3 model as its config and its lazily read arrays, without Keras."""

from typing import TYPE_CHECKING

from keras_padsafe.room import open_room

if TYPE_CHECKING:
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

open_room(
    __name__,
    {
        "Archive": "archive.archive",
        "Asset": "archive.archive",
        "decode": "archive.dtypes",
        "encode": "archive.dtypes",
        "Limits": "archive.limits",
        "NewArray": "archive.new_array",
        "Span": "archive.new_array",
        "open_archive": "archive.open_archive",
        "COMPANIONS": "archive.preset",
        "StoredArray": "archive.stored_array",
        "write_archive": "archive.write_archive",
        "new_documents": "archive.write_preset",
    },
)
