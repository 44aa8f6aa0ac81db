"""The children of an HDF5 group of the older kind: a heap of names and a tree."""

import struct
from collections.abc import Callable, Iterator

from keras_padsafe.archive.hdf5_metadata import MetadataReader
from keras_padsafe.archive.limits import Limits
from keras_padsafe.archive.refusal import FETCH_AGAIN, BrokenRule

_MAX_TREE_LEVELS = 8
_HARD_LINK_KINDS = (0, 1)  # with and without a cached symbol table


class LinkReader:
    """Lists the names and object headers of a group's children.

    Args:
        metadata: Where to read from.
        limits: Bounds on names.
        visit: Refuses an address that was reached before.
    """

    def __init__(
        self, metadata: MetadataReader, limits: Limits, visit: Callable[[int], None]
    ) -> None:
        self._metadata = metadata
        self._limits = limits
        self._visit = visit

    def read(self, symbol_table: bytes) -> list[tuple[str, int]]:
        """Children of the group whose symbol table message this is."""
        tree, heap = struct.unpack_from("<QQ", symbol_table)
        names = self._read_names(heap)
        return list(self._read_tree(tree, names, level=0))

    def _read_names(self, address: int) -> bytes:
        """Section III.D: the names one after the other, each ended by a zero."""
        header = self._metadata.read(address, 32)
        if header[:4] != b"HEAP":
            raise BrokenRule("its heap of names is damaged", FETCH_AGAIN)
        size, _, data_address = struct.unpack_from("<QQQ", header, 8)
        return self._metadata.read(data_address, size)

    def _read_tree(
        self, address: int, names: bytes, level: int
    ) -> Iterator[tuple[str, int]]:
        """Sections III.A.1 and III.B: a tree whose leaves list name and address."""
        if level > _MAX_TREE_LEVELS:
            raise BrokenRule("its index is too deep")
        self._visit(address)
        start = self._metadata.read(address, 8)
        signature, node_type, _, count = struct.unpack("<4sBBH", start)
        if signature == b"SNOD":
            entries = self._metadata.read(address + 8, 40 * count)
            for name_offset, header, kind in struct.iter_unpack("<QQI20x", entries):
                yield self._name_at(name_offset, names, kind), header
        elif signature == b"TREE" and node_type == 0:
            keys_and_children = self._metadata.read(address + 24, 16 * count + 8)
            for number in range(count):
                (child,) = struct.unpack_from("<Q", keys_and_children, 16 * number + 8)
                yield from self._read_tree(child, names, level + 1)
        else:
            raise BrokenRule("its index is damaged", FETCH_AGAIN)

    def _name_at(self, offset: int, names: bytes, kind: int) -> str:
        end = names.find(b"\0", offset, offset + self._limits.max_name_bytes + 1)
        if end < 0:
            raise BrokenRule("the name of a child does not end")
        name = names[offset:end].decode("utf-8")
        if kind not in _HARD_LINK_KINDS:
            raise BrokenRule(f"{name!r} is a soft or external link")
        if not name or "/" in name or name in (".", ".."):
            raise BrokenRule(f"a child is called {name!r}")
        return name
