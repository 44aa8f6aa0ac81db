"""An HDF5 file without its data: where everything would be, and what is around it."""

import io
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_padsafe.archive.dtypes import NATIVE_DTYPES, storage_dtype
from keras_padsafe.archive.limits import KIB
from keras_padsafe.archive.stored_array import StoredArray

_PAGE = 4 * KIB


class SparseMemory(io.RawIOBase):
    """A file in memory that takes room only where something was written."""

    def __init__(self) -> None:
        self.size = 0
        self._position = 0
        self._pages: dict[int, bytearray] = {}

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}
        self._position = base[whence] + offset
        return self._position

    def truncate(self, size: int | None = None) -> int:
        self.size = self._position if size is None else size
        return self.size

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        for page, inside, within in self._parts(self._position, len(view)):
            stored = self._pages.setdefault(page, bytearray(_PAGE))
            stored[inside] = view[within]
        self._position += len(view)
        self.size = max(self.size, self._position)
        return len(view)

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        view[:] = self.read_range(self._position, self._position + len(view))
        self._position += len(view)
        return len(view)

    def read_range(self, start: int, stop: int) -> bytes:
        """Bytes `start` to `stop`; zeros where nothing was written."""
        data = bytearray(stop - start)
        for page, inside, within in self._parts(start, len(data)):
            if page in self._pages:
                data[within] = self._pages[page][inside]
        return bytes(data)

    @staticmethod
    def _parts(start: int, count: int) -> Iterable[tuple[int, slice, slice]]:
        """Splits a range into page, part of that page, and part of the range."""
        done = 0
        while done < count:
            page, first = divmod(start + done, _PAGE)
            length = min(_PAGE - first, count - done)
            yield page, slice(first, first + length), slice(done, done + length)
            done += length


@dataclass(frozen=True)
class Skeleton:
    """The metadata of an HDF5 file that is still to be written.

    Attributes:
        metadata: The file, with nothing where array data belongs.
        offsets: Path of each array that has data, and where it starts; by offset.
    """

    metadata: SparseMemory
    offsets: dict[str, int]

    @property
    def size(self) -> int:
        """Size of the finished file."""
        return self.metadata.size


def build_skeleton(
    groups: Mapping[str, Mapping[str, str]],
    arrays: Mapping[str, StoredArray],
    shapes: Mapping[str, tuple[int, ...]],
) -> Skeleton:
    """Lets h5py lay out a file of these groups and arrays, and write no data.

    Args:
        groups: Attributes of each group by path, parents before children.
        arrays: The arrays by path, in the order in which their data should be stored;
            what an array calls its own path does not count.
        shapes: Shape of each array by path.
    """
    import h5py

    metadata = SparseMemory()
    offsets: dict[str, int] = {}
    with h5py.File(metadata, "w") as file:
        for path, attributes in groups.items():
            group = file.create_group(path) if path else file
            group.attrs.update(attributes)
        creation, types = _creation_properties(), _Hdf5Types()
        for path, array in arrays.items():
            shape = shapes[path]
            space = h5py.h5s.create_simple(shape) if shape else h5py.h5s.create(_SCALAR)
            identifier = h5py.h5d.create(
                file.id, path.encode(), types[array.dtype], space, creation
            )
            h5py.Dataset(identifier).attrs.update(array.attributes)
            if math.prod(shape):
                offsets[path] = identifier.get_offset()
    by_offset = sorted(offsets.items(), key=lambda item: item[1])
    return Skeleton(metadata, dict(by_offset))


_SCALAR = 0  # h5py.h5s.SCALAR, which must not be imported up here


class _Hdf5Types(dict[str, Any]):
    """HDF5 type of each dtype name; made once, for there are few."""

    def __missing__(self, dtype: str) -> Any:
        import h5py

        stored = storage_dtype(dtype)
        if dtype not in NATIVE_DTYPES:
            stored = np.dtype(f"V{stored.itemsize}")
        self[dtype] = h5py.h5t.py_create(stored, logical=True)
        return self[dtype]


def _creation_properties() -> Any:
    """One contiguous piece, placed at once, never filled, the same every time."""
    import h5py

    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.CONTIGUOUS)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    properties.set_obj_track_times(False)
    return properties
