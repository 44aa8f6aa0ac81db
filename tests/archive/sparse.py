"""Models of many gigabytes that take a few kilobytes: files with holes."""

import json
import os
import zipfile
import zlib
from pathlib import Path

import h5py

from keras_padsafe.archive.crc import combine_crc

TABLE = "layers/embedding/vars/0"


def sparse_model(path: Path, rows: int, dim: int) -> Path:
    """A `.keras` file of one table of zeros, with the records that `zipfile` writes."""
    head, size, tail = _weights_without_data(path.with_suffix(".h5"), rows, dim)
    config = {
        "module": "keras",
        "class_name": "Sequential",
        "config": {
            "name": "model",
            "layers": [
                {
                    "module": "keras.layers",
                    "class_name": "Embedding",
                    "config": {"name": "words", "input_dim": rows, "output_dim": dim},
                }
            ],
        },
    }
    with open(path, "wb") as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.15.1"}')
        archive.writestr("config.json", json.dumps(config))
        info = zipfile.ZipInfo("model.weights.h5")
        info.header_offset = file.tell()
        info.file_size = info.compress_size = len(head) + size + len(tail)
        info.CRC = combine_crc(zlib.crc32(head), _crc_of_zeros(size), size)
        info.CRC = zlib.crc32(tail, info.CRC)
        file.write(info.FileHeader(zip64=True))
        file.write(head)
        file.seek(size, os.SEEK_CUR)
        file.write(tail)
        archive.start_dir = file.tell()
        archive.filelist.append(info)
        archive.NameToInfo[info.filename] = info
    return path


def _weights_without_data(path: Path, rows: int, dim: int) -> tuple[bytes, int, bytes]:
    """What stands before and after the one array of an HDF5 file, and its size."""
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    creation.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    with h5py.File(path, "w") as file:
        file.create_group(TABLE.rpartition("/")[0])
        space = h5py.h5s.create_simple((rows, dim))
        kind = h5py.h5t.IEEE_F32LE
        h5py.h5d.create(file.id, TABLE.encode(), kind, space, creation)
        offset = file[TABLE].id.get_offset()
    size = 4 * rows * dim
    with open(path, "rb") as file:
        head = file.read(offset)
        file.seek(offset + size)
        tail = file.read()
    path.unlink()
    return head, size, tail


def _crc_of_zeros(size: int) -> int:
    """By doubling: the checksum of twice as many is joined from that of half."""
    crc, power, power_size = 0, zlib.crc32(b"\0"), 1
    while size:
        if size & 1:
            crc = combine_crc(crc, power, power_size)
        power, power_size = combine_crc(power, power, power_size), 2 * power_size
        size >>= 1
    return crc
