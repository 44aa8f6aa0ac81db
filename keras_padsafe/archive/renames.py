"""Gives arrays and groups of a weights file other paths."""

from collections.abc import Iterable, Iterator, Mapping

from keras_padsafe.archive.limits import Limits
from keras_padsafe.errors import ArchiveError

_LIMITS = Limits()


class Renames:
    """New paths by old ones; whatever lies below a group moves with it.

    All renames happen at once, so two groups may change places. Of two that apply to
    a path, the longer wins.

    Args:
        renames: New path by old path, of arrays and of groups.
        groups: The groups of the file, by path; the root's is `""`.
        arrays: The arrays of the file, by path.

    Raises:
        ArchiveError: An old path is unknown, a new one is no path that the reader
            would take, or two things would have the same path.
    """

    def __init__(
        self,
        renames: Mapping[str, str],
        groups: Mapping[str, Mapping[str, str]],
        arrays: Iterable[str],
    ) -> None:
        arrays = tuple(arrays)
        self._renames = renames
        _check_known(renames, groups, arrays)
        _check_paths(renames.values())
        self.arrays: dict[str, str] = {}
        """The old path of each array by its new one, in the order of the arrays."""
        self.groups: dict[str, Mapping[str, str]] = {}
        """The attributes of each group by its new path, parents before children."""
        self._check_apart([*groups, *arrays])
        for path in arrays:
            self.arrays[self.new_path(path)] = path
        moved = {self.new_path(path): groups[path] for path in groups}
        self.groups = moved if not renames else _parents_first(moved, self.arrays)

    def new_path(self, path: str) -> str:
        """Where an old path is now."""
        return new_path(path, self._renames)

    def _check_apart(self, paths: Iterable[str]) -> None:
        taken: dict[str, str] = {}
        for path in paths:
            new = self.new_path(path)
            other = taken.setdefault(new, path)
            if other != path:
                raise ArchiveError(
                    f"{new}: both {other!r} and {path!r} would have this path. Rename "
                    "the one that is there now as well, or choose another path."
                )


def new_path(path: str, renames: Mapping[str, str]) -> str:
    """Where an old path is, once all renames have happened."""
    for parent in _upwards(path):
        if parent in renames:
            return renames[parent] + path[len(parent) :]
    return path


def _check_known(
    renames: Mapping[str, str],
    groups: Mapping[str, Mapping[str, str]],
    arrays: tuple[str, ...],
) -> None:
    known = {*groups, *arrays} - {""}
    for path in renames:
        if path not in known:
            raise ArchiveError(
                f"There is no array or group {path!r} to rename. `Archive.arrays` and "
                "`Archive.groups` list what there is; what is dropped has no path."
            )


def _check_paths(paths: Iterable[str]) -> None:
    for path in paths:
        parts = path.split("/")
        whole = all(part not in ("", ".", "..") and "\0" not in part for part in parts)
        short = all(len(part.encode()) <= _LIMITS.max_name_bytes for part in parts)
        if not (whole and short and len(parts) <= _LIMITS.max_depth):
            raise ArchiveError(
                f"{path!r} is no path in a weights file. Expected: names between "
                "single slashes, as 'layers/dense/vars/0'."
            )


def _parents_first(
    groups: Mapping[str, Mapping[str, str]], arrays: Iterable[str]
) -> dict[str, Mapping[str, str]]:
    """Groups so that each comes after the one it lies in, which is made if need be."""
    ordered: dict[str, Mapping[str, str]] = {}
    arrays = set(arrays)
    for path in [*groups, *arrays]:
        for parent in reversed([*_upwards(path)][path in arrays :]):
            if parent in arrays:
                raise ArchiveError(
                    f"{path}: {parent!r} is an array, so that nothing can lie below "
                    "it. Choose another path."
                )
            ordered.setdefault(parent, groups.get(parent, {}))
    return {path: ordered[path] for path in sorted(ordered, key=_depth)}


def _depth(path: str) -> int:
    return path.count("/") + bool(path)


def _upwards(path: str) -> Iterator[str]:
    """A path and all above it, the root last."""
    while path:
        yield path
        path = path.rpartition("/")[0]
    yield ""
