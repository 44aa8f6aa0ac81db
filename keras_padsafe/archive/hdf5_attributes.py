"""The attributes of HDF5 groups and arrays: one string each."""

import struct

from keras_padsafe.archive.hdf5_messages import (
    VlenString,
    attribute_name,
    parse_attribute,
)
from keras_padsafe.archive.hdf5_metadata import MetadataReader
from keras_padsafe.archive.limits import Limits
from keras_padsafe.archive.refusal import FETCH_AGAIN, BrokenRule, about


class AttributeReader:
    """Reads attribute messages and the texts that they point at."""

    def __init__(self, metadata: MetadataReader, limits: Limits) -> None:
        self._metadata = metadata
        self._limits = limits
        self._collections: dict[int, dict[int, bytes]] = {}

    def read(self, message: bytes) -> tuple[str, str]:
        """Name and text of an attribute."""
        name = attribute_name(message)
        with about(f"attribute {name!r}"):
            value = parse_attribute(message, self._limits)
            text = self._fetch(value) if isinstance(value, VlenString) else value
            if not name or "\0" in name or "\0" in text:
                raise BrokenRule("its name or its text holds a zero byte")
            return name, text

    def _fetch(self, reference: VlenString) -> str:
        """Section III.E: the text stands in a collection of the global heap."""
        collection = self._collections.get(reference.collection)
        if collection is None:
            collection = self._read_collection(reference.collection)
            self._collections[reference.collection] = collection
        if reference.index not in collection:
            raise BrokenRule("it points at no text", FETCH_AGAIN)
        text = collection[reference.index][: reference.length]
        self._metadata.spend(len(text))
        return text.decode("utf-8")

    def _read_collection(self, address: int) -> dict[int, bytes]:
        header = self._metadata.read(address, 16)
        if header[:4] != b"GCOL":
            raise BrokenRule("it points outside the global heap", FETCH_AGAIN)
        (size,) = struct.unpack_from("<Q", header, 8)
        heap = self._metadata.read(address, size)
        objects: dict[int, bytes] = {}
        position = 16
        while position + 16 <= size:
            index, _, count = struct.unpack_from("<HHxxxxQ", heap, position)
            if index == 0:  # the free space at the end
                break
            objects[index] = heap[position + 16 : position + 16 + count]
            position += 16 + -(-count // 8) * 8
        return objects
