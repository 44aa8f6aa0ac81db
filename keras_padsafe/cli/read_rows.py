"""New rows that `--new-rows` names: those of a file, or a word for how to make them."""

from pathlib import Path
from typing import Any

from keras_padsafe.archive.byte_window import read_whole_file
from keras_padsafe.archive.limits import Limits
from keras_padsafe.cli.command import Failure

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
    import json

    try:
        likes = json.loads(read_whole_file(Path(spec), Limits().max_json_bytes))
    except (OSError, ValueError, RecursionError) as error:
        raise Failure(f"--new-rows {spec}: {str(error).rstrip('.')}.{_LIKES}") from None
    if not isinstance(likes, dict):
        raise Failure(f"--new-rows {spec}: it holds no JSON object.{_LIKES}")
    return likes
