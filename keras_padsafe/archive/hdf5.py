"""Reads the subset of HDF5 that Keras writes, and refuses everything else.

Keras stores weights with superblock version 0, symbol-table groups, version 1
object headers and contiguous arrays, and nothing more. Reading only that takes a
few hundred lines, in which no byte of the file can lead outside it, twice to the
same place, or to more memory than the limits allow; the HDF5 library, with filters,
plug-ins and external files, was seen to crash and to hang on damaged files.

Follows the "HDF5 File Format Specification", version 3.0; section numbers are its.
"""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from keras_padsafe.archive import hdf5_messages as messages
from keras_padsafe.archive.byte_window import ByteWindow
from keras_padsafe.archive.hdf5_attributes import AttributeReader
from keras_padsafe.archive.hdf5_links import LinkReader
from keras_padsafe.archive.hdf5_metadata import MetadataReader
from keras_padsafe.archive.limits import Limits
from keras_padsafe.archive.opaque_dtype import opaque_dtype
from keras_padsafe.archive.refusal import FETCH_AGAIN, BrokenRule, about, refusing

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_LARGEST_ARRAY = (1 << 63) - 1
_SHARED = 2  # flag of a message that stands elsewhere
_MAX_CONTINUATIONS = 256


@dataclass(frozen=True)
class Extent:
    """An array as the file describes it: its type and where its bytes are."""

    shape: tuple[int, ...]
    dtype: str
    offset: int
    nbytes: int
    attributes: dict[str, str]


@dataclass
class Hdf5Tree:
    """Every group and array of a file, by path; the root group is `""`."""

    groups: dict[str, dict[str, str]] = field(default_factory=dict)
    arrays: dict[str, Extent] = field(default_factory=dict)


def read_hdf5(window: ByteWindow, limits: Limits) -> Hdf5Tree:
    """The whole tree;  located and not read."""
    with refusing(window.name):
        tree = _Hdf5Reader(window, limits).read()
        in_file_order = sorted(tree.arrays.items(), key=lambda item: item[1].offset)
        _check_disjoint(in_file_order)
        tree.arrays = dict(in_file_order)
        return tree


class _Hdf5Reader:
    def __init__(self, window: ByteWindow, limits: Limits) -> None:
        self._limits = limits
        self._size = window.size
        self._metadata = MetadataReader(window, limits.max_metadata_bytes)
        self._attributes = AttributeReader(self._metadata, limits)
        self._links = LinkReader(self._metadata, limits, self._visit)
        self._visited: set[int] = set()
        self._tree = Hdf5Tree()

    def read(self) -> Hdf5Tree:
        root_header = self._read_superblock()
        self._read_object(root_header, path="", depth=0)
        return self._tree

    def _read_superblock(self) -> int:
        """Section II.A: the address of the root group's object header."""
        block = self._metadata.read(0, 96)
        if not block.startswith(SIGNATURE):
            raise BrokenRule("it does not start like an HDF5 file")
        version, offset_size, length_size = block[8], block[13], block[14]
        if (version, offset_size, length_size) != (0, 8, 8):
            raise BrokenRule(f"its HDF5 superblock has version {version}; Keras uses 0")
        base, _, end_of_file, _ = struct.unpack_from("<4Q", block, 24)
        if base != 0:
            raise BrokenRule("a user block stands before its HDF5 data")
        if end_of_file > self._size:
            raise BrokenRule(
                f"it is cut short: {self._size} bytes of {end_of_file}", FETCH_AGAIN
            )
        self._size = end_of_file
        return struct.unpack_from("<Q", block, 64)[0]

    def _read_object(self, address: int, path: str, depth: int) -> None:
        """A group with all below it, or an array."""
        children: list[tuple[str, int]] = []
        with about(path or "/"):
            self._check_room(depth)
            self._visit(address)
            singles, attributes = self._read_messages(address, is_root=not path)
            if messages.SYMBOL_TABLE in singles:
                self._tree.groups[path] = attributes
                children = self._links.read(singles[messages.SYMBOL_TABLE])
            elif path:
                self._tree.arrays[path] = self._parse_array(singles, attributes)
            else:
                raise BrokenRule("the root is not a group")
        for name, header in children:
            child = f"{path}/{name}" if path else name
            self._metadata.spend(len(child))
            if child in self._tree.groups or child in self._tree.arrays:
                raise BrokenRule(f"{child}: there are two of that name")
            self._read_object(header, child, depth + 1)

    def _check_room(self, depth: int) -> None:
        if depth > self._limits.max_depth:
            raise BrokenRule(f"groups nest deeper than {self._limits.max_depth}")
        if len(self._tree.groups) + len(self._tree.arrays) >= self._limits.max_objects:
            raise BrokenRule(f"the file has over {self._limits.max_objects} objects")

    def _visit(self, address: int) -> None:
        """Each part of a tree is reached once, so there are no cycles."""
        if address in self._visited:
            raise BrokenRule("it is reached twice (a hard link or a cycle)")
        self._visited.add(address)

    def _read_messages(
        self, address: int, *, is_root: bool
    ) -> tuple[dict[int, bytes], dict[str, str]]:
        """What an object header says, by type of message, and its attributes."""
        singles: dict[int, bytes] = {}
        attributes: dict[str, str] = {}
        for kind, message in self._read_header(address):
            if kind == messages.ATTRIBUTE:
                if is_root:
                    _refuse_legacy(messages.attribute_name(message))
                name, text = self._attributes.read(message)
                if name in attributes:
                    raise BrokenRule(f"it has two attributes {name!r}")
                attributes[name] = text
            elif kind in singles:
                raise BrokenRule(f"it has two messages of type {kind:#x}")
            else:
                singles[kind] = message
        return singles, attributes

    def _read_header(self, address: int) -> Iterator[tuple[int, bytes]]:
        """Section IV.A.1.a: the messages that matter, of version 1 headers."""
        prefix = self._metadata.read(address, 16)
        version, _, message_count, _, size = struct.unpack_from("<BBHII", prefix)
        if version != 1:
            raise BrokenRule("it has an object header newer than version 1")
        blocks = [(address + 16, size)]
        for number, (start, length) in enumerate(blocks):
            if number > _MAX_CONTINUATIONS:
                raise BrokenRule("its header is in too many parts")
            block = self._metadata.read(start, length)
            position = 0
            while position + 8 <= length and message_count:
                kind, count, flags = struct.unpack_from("<HHB", block, position)
                message = block[position + 8 : position + 8 + count]
                position += 8 + count
                message_count -= 1
                if len(message) != count:
                    raise BrokenRule("a message is cut short", FETCH_AGAIN)
                if kind == messages.CONTINUATION:
                    blocks.append(struct.unpack_from("<QQ", message))
                elif kind not in messages.KNOWN or flags & _SHARED:
                    what = messages.FOREIGN.get(kind, f"a message of type {kind:#x}")
                    raise BrokenRule(f"it has {what}, which Keras never writes")
                elif kind not in messages.IGNORED:
                    yield kind, message

    def _parse_array(
        self, singles: dict[int, bytes], attributes: dict[str, str]
    ) -> Extent:
        needed = (messages.DATATYPE, messages.DATASPACE, messages.LAYOUT)
        if any(kind not in singles for kind in needed):
            raise BrokenRule("it is neither a group nor an array")
        datatype = messages.parse_datatype(singles[messages.DATATYPE])
        shape = messages.parse_dataspace(singles[messages.DATASPACE], self._limits)
        offset, stored = messages.parse_layout(singles[messages.LAYOUT])
        dtype = _keras_dtype(datatype, attributes)
        declared = math.prod(shape) * datatype.size
        if math.prod(filter(None, shape)) * datatype.size > _LARGEST_ARRAY:
            raise BrokenRule(f"no array can have shape {shape}")
        if declared == 0:
            # Ids without bytes cost nothing in the file, and much to whoever counts.
            self._metadata.spend(math.prod(filter(None, shape)))
            return Extent(shape, dtype, 0, 0, attributes)
        if offset == messages.UNDEFINED_ADDRESS or stored != declared:
            raise BrokenRule(
                f"shape {shape} of {dtype} needs {declared} bytes, "
                f"{0 if offset == messages.UNDEFINED_ADDRESS else stored} are stored",
                FETCH_AGAIN,
            )
        if offset + stored > self._size:
            raise BrokenRule("its data is past the end of the file", FETCH_AGAIN)
        return Extent(shape, dtype, offset, stored, attributes)


def _keras_dtype(datatype: messages.Datatype, attributes: dict[str, str]) -> str:
    if datatype.kind in ("string", "vlen"):
        raise BrokenRule("it holds text, not numbers")
    if datatype.kind != "opaque":
        return datatype.keras_name
    name = opaque_dtype(datatype.size, attributes.get("dtype"))
    if name is None:
        raise BrokenRule(f"its elements are {datatype.size} opaque bytes")
    return name


def _refuse_legacy(root_attribute: str) -> None:
    """Keras 2 and `save("x.h5")` mark the root of their own, older format."""
    if root_attribute == "model_config":
        raise BrokenRule(
            "it is a whole model in the legacy HDF5 format",
            'Convert it: `keras.models.load_model("old.h5").save("new.keras")`.',
        )
    if root_attribute == "layer_names":
        raise BrokenRule(
            "it holds weights in the legacy HDF5 format",
            'Build the model, `model.load_weights("old.h5")`, and '
            '`model.save("new.keras")`.',
        )


def _check_disjoint(arrays: list[tuple[str, Extent]]) -> None:
    """`arrays` by offset. Shared bytes would let a small file hold a large model."""
    end, last = 0, ""
    for path, array in arrays:
        if array.nbytes:
            if array.offset < end:
                raise BrokenRule(f"the data of {path} overlaps that of {last}")
            end, last = array.offset + array.nbytes, path
