"""The files of a folder that are read only when they are asked for."""

import os
from collections.abc import Iterator
from pathlib import Path

from keras_padsafe.archive.archive import Asset
from keras_padsafe.archive.byte_window import read_whole_file
from keras_padsafe.archive.limits import Limits
from keras_padsafe.archive.refusal import FETCH_AGAIN, BrokenRule, refusing


def names_below(
    root: Path, folder: Path, limits: Limits, *, hidden: bool = True
) -> Iterator[str]:
    """Names, within `root`, of the files below a folder of it.

    A link to a directory is not followed.

    Args:
        root: What names are relative to.
        folder: Where to look.
        limits: How many there may be.
        hidden: Whether those count whose name, or folder's, starts with a dot.
    """
    count = 0
    for inner, folders, names in os.walk(folder):
        if not hidden:
            folders[:] = [name for name in folders if not name.startswith(".")]
            names = [name for name in names if not name.startswith(".")]
        for name in names:
            count += 1
            if count > limits.max_members:
                raise BrokenRule(f"it has more than {limits.max_members} assets")
            yield (Path(inner) / name).relative_to(root).as_posix()


def asset_file(folder: Path, name: str) -> Asset:
    """A file of a folder as an asset; it must not change before it is read."""
    path = folder / name
    size = os.stat(path).st_size

    def read() -> bytes:
        contents = read_whole_file(path, size)
        with refusing(str(path)):
            if len(contents) != size:
                raise BrokenRule("it changed while it was read", FETCH_AGAIN)
        return contents

    return Asset(name, size, read)


def check_asset_sizes(assets: list[Asset], limits: Limits) -> None:
    """Refuses assets that would take too much memory."""
    total = 0
    for asset in assets:
        total += asset.size
        if asset.size > limits.max_asset_bytes or total > limits.max_total_asset_bytes:
            raise BrokenRule(
                f"its assets are too large, from {asset.name} ({asset.size} bytes) on",
                "If you trust the file, raise `Limits.max_asset_bytes` and "
                "`Limits.max_total_asset_bytes`.",
            )
