"""Reads one HDF5 file of weights."""

from keras_padsafe.archive.archive import WeightsFile
from keras_padsafe.archive.byte_window import ByteWindow
from keras_padsafe.archive.hdf5 import read_hdf5
from keras_padsafe.archive.limits import Limits
from keras_padsafe.archive.stored_array import stored_arrays


def read_weights_file(data: ByteWindow, crc: int | None, limits: Limits) -> WeightsFile:
    """The arrays of one file; `crc` is its checksum, where that is known."""
    tree = read_hdf5(data, limits)
    arrays = stored_arrays(data, tree.arrays, tree.groups)
    return WeightsFile(data, crc, arrays, tree.groups)
