"""Opens every shape in which Keras 3 stores a model, without Keras."""

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from keras_padsafe.archive.byte_window import ByteWindow
from keras_padsafe.archive.member_names import WEIGHTS
from keras_padsafe.archive.stored_array import StoredArray
from keras_padsafe.errors import ArchiveError

Kind = Literal["keras", "directory", "preset", "weights", "sharded"]
FileState = tuple[tuple[int, int, int, int], ...]
"""Device, inode, size and time of change of each file of weights."""


@dataclass(frozen=True)
class Asset:
    """A file beside the weights, such as a vocabulary; read when asked for."""

    name: str
    size: int
    read: Callable[[], bytes] = field(repr=False)
    """The contents; the checksum, where the archive has one, is verified."""


@dataclass(frozen=True)
class WeightsFile:
    """One HDF5 file that holds arrays.

    Attributes:
        data: Its bytes.
        crc: Their checksum, known for a member of a zip.
        arrays: Its arrays by their paths within it, in the order of their bytes.
        groups: The attributes of its groups.
        name: What it is called in its folder.
        mount: The group of the model that is the root of this file.
    """

    data: ByteWindow
    crc: int | None
    arrays: dict[str, StoredArray]
    groups: dict[str, dict[str, str]]
    name: str = WEIGHTS
    mount: str = ""


@dataclass(frozen=True)
class Document:
    """A JSON file of a preset.

    Attributes:
        name: What it is called.
        place: The part of the model's configuration that it repeats.
        text: Its bytes.
        data: Its content.
    """

    name: str
    place: tuple[str, ...]
    text: bytes
    data: dict[str, Any]


@dataclass(frozen=True)
class Contents:
    """All that an archive holds; the small parts read, the arrays located."""

    kind: Kind
    weights: tuple[WeightsFile, ...]
    arrays: dict[str, StoredArray]
    groups: dict[str, dict[str, str]]
    config: dict[str, Any] | None = None
    config_bytes: bytes | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    metadata_bytes: bytes | None = None
    assets: dict[str, Asset] = field(default_factory=dict)
    documents: tuple[Document, ...] = ()
    shard_map: dict[str, Any] | None = None


class Archive:
    """A Keras 3 model file as its config and its lazily read arrays.

    Made by `open_archive`; a context manager that closes the file. Nothing of the
    model is built or run.

    Attributes:
        path: What was opened.
        kind: `"keras"` (a zip file), `"directory"` (the same, unzipped), `"preset"`
            (a folder of KerasHub), `"weights"` (`.weights.h5`) or `"sharded"`
            (`.weights.json`).
        config: `config.json`; `None` where there are only weights. Of a preset, what
            its JSON files say together; see `read_preset`.
        metadata: `metadata.json`; empty where there is none.
        arrays: Each array by its full path, in the order of their bytes in the file.
        groups: The attributes of each HDF5 group by its path; the root's path is `""`.
        assets: Each asset by its name, which starts with `assets/`; of a preset, also
            whatever else lies in its folder.
        state: By what the files are known again, as long as nothing changes them.
        contents: The same and what only the writer needs: bytes as stored.
    """

    def __init__(self, path: Path, contents: Contents, files: ExitStack) -> None:
        self.path = path
        self.contents = contents
        self.kind: Kind = contents.kind
        self.config = contents.config
        self.metadata = contents.metadata
        self.arrays: Mapping[str, StoredArray] = contents.arrays
        self.groups: Mapping[str, dict[str, str]] = contents.groups
        self.assets: Mapping[str, Asset] = contents.assets
        self._files = files
        self.state = self._state()

    def close(self) -> None:
        """Closes the files; arrays and assets can no longer be read."""
        self._files.close()

    def check_unchanged(self) -> None:
        """Raises `ArchiveError` if the weights changed since they were opened."""
        if self._state() != self.state:
            raise ArchiveError(
                f"{self.path}: the file changed while it was read. "
                "Wait until nothing writes to it, and try again."
            )

    def _state(self) -> FileState:
        statuses = (os.fstat(file.data.descriptor) for file in self.contents.weights)
        return tuple((s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns) for s in statuses)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
