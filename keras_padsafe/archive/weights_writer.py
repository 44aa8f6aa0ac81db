"""Writes a file of weights from that of another archive, in one pass."""

import math
from collections.abc import Collection, Mapping

from keras_padsafe.archive.archive import WeightsFile
from keras_padsafe.archive.checked_output import BLOCK, CheckedOutput
from keras_padsafe.archive.checked_source import CheckedSource, verify_weights
from keras_padsafe.archive.dtypes import storage_dtype
from keras_padsafe.archive.hdf5_skeleton import build_skeleton
from keras_padsafe.archive.new_array import NewArray, Span
from keras_padsafe.archive.renames import Renames
from keras_padsafe.archive.stored_array import StoredArray
from keras_padsafe.errors import ArchiveError


class WeightsWriter:
    """The weights of `source`, some arrays replaced, left out or elsewhere.

    Args:
        source: A file of an open archive; paths are those within it.
        replacements: New contents by path.
        drop: Paths of arrays and groups to leave out.
        rename: New paths of arrays and groups. All else goes by the old ones.
    """

    def __init__(
        self,
        source: WeightsFile,
        replacements: Mapping[str, NewArray],
        drop: Collection[str],
        rename: Mapping[str, str],
    ) -> None:
        self._source = source
        self._replacements = replacements
        self._arrays = {
            path: array
            for path, array in source.arrays.items()
            if not _is_below(path, drop)
        }
        groups = {
            path: attributes
            for path, attributes in source.groups.items()
            if not _is_below(path, drop)
        }
        _check_names("drop", drop, {**source.groups, **source.arrays})
        _check_names("arrays", replacements, self._arrays)
        renames = Renames(rename, groups, self._arrays)
        self._old_paths = renames.arrays
        stored = {new: self._arrays[old] for new, old in renames.arrays.items()}
        shapes = {path: self._shape(array) for path, array in stored.items()}
        self._skeleton = build_skeleton(renames.groups, stored, shapes)

    @property
    def size(self) -> int:
        """Size of the file, known before it is written."""
        return self._skeleton.size

    def write(self, output: CheckedOutput) -> None:
        """Appends the file to `output`; verifies every byte of the source."""
        room = memoryview(bytearray(BLOCK))
        checksums: dict[str, int] = {}
        position = 0
        for new_path, offset in self._skeleton.offsets.items():
            path = self._old_paths[new_path]
            self._write_metadata(position, offset, output)
            reader = CheckedSource(self._arrays[path].data, room)
            position = offset + self._write_array(path, reader, output)
            if self._source.crc is not None:
                checksums[path] = reader.checksum()
        self._write_metadata(position, self.size, output)
        verify_weights(self._source, checksums, room)

    def _shape(self, array: StoredArray) -> tuple[int, ...]:
        replacement = self._replacements.get(array.path)
        return array.shape if replacement is None else tuple(replacement.shape)

    def _write_metadata(self, start: int, stop: int, output: CheckedOutput) -> None:
        output.write(self._skeleton.metadata.read_range(start, stop))

    def _write_array(
        self, path: str, reader: CheckedSource, output: CheckedOutput
    ) -> int:
        """Returns the size, which is what the shape needs or an error."""
        array = self._arrays[path]
        if path not in self._replacements:
            reader.copy(Span(0, array.nbytes), output)
            return array.nbytes
        shape = self._shape(array)
        needed = math.prod(shape) * storage_dtype(array.dtype).itemsize
        start = output.position
        for piece in self._replacements[path].pieces():
            if isinstance(piece, Span):
                _check_span(piece, array)
                reader.copy(piece, output)
            else:
                output.write(piece)
            if output.position - start > needed:
                break
        if (given := output.position - start) != needed:
            raise ArchiveError(
                f"{path}: the pieces of its new contents must have {needed} bytes in "
                f"all for shape {shape} of {array.dtype}; they have "
                f"{'more' if given > needed else given}."
            )
        return needed


def _is_below(path: str, roots: Collection[str]) -> bool:
    return any(path == root or path.startswith(f"{root}/") for root in roots)


def _check_names(argument: str, given: Collection[str], known: Collection[str]) -> None:
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ArchiveError(
            f"{argument}: there is no {unknown[0]!r:.60} to change. `Archive.arrays` "
            "and `Archive.groups` list what there is."
        )


def _check_span(span: Span, array: StoredArray) -> None:
    if not 0 <= span.start <= span.stop <= array.nbytes:
        raise ArchiveError(
            f"{array.path}: bytes {span.start} to {span.stop} are not in the source "
            f"array, which has {array.nbytes}."
        )
