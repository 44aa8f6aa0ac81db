"""One array of a model file, read only as far as it is asked for."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, SupportsIndex

from keras_padsafe.archive.byte_window import ByteWindow
from keras_padsafe.archive.hdf5 import Extent
from keras_padsafe.archive.refusal import refusing
from keras_padsafe.errors import ArchiveError

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class StoredArray:
    """An array in a model file.

    Attributes:
        path: Where it is in the HDF5 tree: `"layers/embedding/vars/0"`.
        shape: Its shape; `()` for a scalar.
        dtype: Keras's name: `"float32"`, `"bfloat16"`, `"int8"`, `"bool"`, ...; bytes
            whose type Keras did not record are `"opaque1"`, `"opaque2"`, ...
        layer_name: Name of the layer, as Keras 3.9 and later record it, else `None`.
        attributes: The array's own HDF5 attributes.
        data: Its stored bytes: little-endian, C order.
    """

    path: str
    shape: tuple[int, ...]
    dtype: str
    layer_name: str | None
    attributes: dict[str, str] = field(repr=False)
    data: ByteWindow = field(repr=False)

    @property
    def nbytes(self) -> int:
        """Size of the stored bytes."""
        return self.data.size

    def read(self, start: int = 0, stop: int | None = None) -> "np.ndarray":
        """Indices `start` to `stop` of axis 0; a scalar is always read whole.

        Args:
            start: First index, as in a slice.
            stop: One past the last index, as in a slice; `None` for the end.

        Returns:
            A new array in the little-endian storage dtype. bfloat16 comes as the
            `uint16` of its bits, `opaqueN` as an unsigned integer of N bytes;
            `keras_padsafe.archive.decode` gives the values.
        """
        # A file is described without NumPy, which takes longer to import.
        import numpy as np

        from keras_padsafe.archive.dtypes import storage_dtype

        shape, offset = self.shape, 0
        dtype = storage_dtype(self.dtype)
        for name, index in (("start", start), ("stop", stop)):
            if isinstance(index, np.ndarray | bool) or not isinstance(
                index, SupportsIndex | None
            ):
                raise ArchiveError(
                    f"{name}: expected an index of axis 0; received {index!r:.60}."
                )
        if shape:
            start, stop, _ = slice(start, stop).indices(shape[0])
            shape = (max(stop - start, 0), *shape[1:])
            offset = start * math.prod(shape[1:]) * dtype.itemsize
        values = np.empty(shape, dtype)
        if values.size:
            with refusing(self.data.name):
                self.data.read_into(offset, values.reshape(-1).view(np.uint8).data)
        return values


def stored_arrays(
    file: ByteWindow,
    extents: Mapping[str, Extent],
    groups: Mapping[str, Mapping[str, str]],
) -> dict[str, StoredArray]:
    """The arrays at `extents` of `file`; `groups` are their groups' attributes."""
    return {
        path: StoredArray(
            path=path,
            shape=extent.shape,
            dtype=extent.dtype,
            layer_name=_layer_name(path, groups),
            attributes=extent.attributes,
            data=file.part(path, extent.offset, extent.nbytes),
        )
        for path, extent in extents.items()
    }


def _layer_name(path: str, groups: Mapping[str, Mapping[str, str]]) -> str | None:
    group = path.rpartition("/")[0]
    is_vars = group.rpartition("/")[2] == "vars"
    return groups[group].get("name") if is_vars else None
