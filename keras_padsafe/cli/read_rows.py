"""New rows that `--new-rows` names: those of a file, or a word for how to make them."""

from pathlib import Path
from typing import Any

from keras_padsafe.archive.byte_window import read_whole_file
from keras_padsafe.archive.limits import Limits
from keras_padsafe.archive.refusal import SAVE_AGAIN
from keras_padsafe.archive.strict_json import parse_object
from keras_padsafe.cli.command import Failure
from keras_padsafe.errors import ArchiveError

_LIKES = (
    ' Expected: new words, and for each an old word or several, as {"okapi": '
    '["giraffe", "zebra"]}.'
)
_TENSORS = ".safetensors"


def read_rows(spec: str) -> Any:
    """What `--new-rows` says, with the files that it names read."""
    if spec.endswith(".json"):
        return _read_likes(spec)
    path, suffix, name = spec.partition(_TENSORS)
    if suffix and name[:1] in ("", ":"):
        return _read_tensors(spec, path + suffix, name[1:])
    if not spec.endswith(".npy"):
        return spec
    import numpy as np

    try:
        return np.load(spec, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise Failure(
            f"--new-rows {spec}: no rows could be read ({error}). Expected: a matrix "
            "of numbers, (new, dim), that numpy.save wrote."
        ) from None


def _read_tensors(spec: str, path: str, name: str) -> Any:
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError:
        raise Failure(
            f"--new-rows {spec}: reading it needs the package safetensors. Install it: "
            "pip install safetensors."
        ) from None
    try:
        with safe_open(path, framework="numpy") as file:
            names = [*file.keys()]
            if name in names or (not name and len(names) == 1):
                return file.get_tensor(name or names[0])
    except (OSError, SafetensorError, TypeError) as error:
        raise Failure(f"--new-rows {spec}: no rows could be read ({error}).") from None
    listed = ", ".join(sorted(names)[:5]) or "none"
    raise Failure(
        f"--new-rows {spec}: expected the name of one tensor, as {path}:NAME. The file "
        f"holds {len(names)}: {listed}."
    )


def _read_likes(spec: str) -> dict[str, Any]:
    limits = Limits()
    try:
        text = read_whole_file(Path(spec), limits.max_json_bytes)
        return parse_object(spec, text, limits)
    except (OSError, ArchiveError) as error:
        what = str(error).removesuffix(f" {SAVE_AGAIN}").rstrip(".")
        raise Failure(f"--new-rows {what}.{_LIKES}") from None
