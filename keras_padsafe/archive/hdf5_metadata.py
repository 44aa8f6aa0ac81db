"""Small records of a file, read through a cache and within a budget."""

from keras_padsafe.archive.byte_window import ByteWindow
from keras_padsafe.archive.limits import KIB
from keras_padsafe.archive.refusal import FETCH_AGAIN, BrokenRule

_BLOCK = 16 * KIB
_MAX_CACHED_BLOCKS = 1024
_READS_PER_BYTE = 8


class MetadataReader:
    """Reads records of a file and counts them against a budget of bytes.

    The budget bounds time as well as memory: a damaged or hostile index can send a
    reader back and forth, but not for long.
    """

    def __init__(self, window: ByteWindow, budget: int) -> None:
        self._window = window
        # What is honest is read a few times over; more is a tangle of references.
        self._budget = min(budget, _READS_PER_BYTE * window.size + _BLOCK)
        self._blocks: dict[int, bytes] = {}

    def read(self, offset: int, count: int) -> bytes:
        """`count` bytes from `offset`."""
        self.spend(count)
        if offset < 0 or offset + count > self._window.size:
            raise BrokenRule(
                f"a record of {count} bytes at {offset} is past the end of the file",
                FETCH_AGAIN,
            )
        number, start = divmod(offset, _BLOCK)
        if start + count <= _BLOCK:
            return self._block(number)[start : start + count]
        return self._window.read(offset, count)

    def spend(self, count: int) -> None:
        """Counts bytes that are kept, wherever they came from."""
        self._budget -= count
        if self._budget < 0:
            raise BrokenRule(
                "it holds more metadata than fits its size, "
                "or than `Limits.max_metadata_bytes` allows"
            )

    def _block(self, number: int) -> bytes:
        block = self._blocks.get(number)
        if block is None:
            if len(self._blocks) >= _MAX_CACHED_BLOCKS:
                self._blocks.clear()
            start = number * _BLOCK
            count = min(_BLOCK, self._window.size - start)
            block = self._blocks[number] = self._window.read(start, count)
        return block
