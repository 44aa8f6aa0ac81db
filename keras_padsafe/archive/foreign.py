"""Recognises files that are not Keras 3 models, to say what they are instead."""

from pathlib import Path

from keras_padsafe.archive.refusal import FETCH_AGAIN, BrokenRule

_EXPORT = "Build the model in Keras, load the weights there, and save it as `.keras`."
# First bytes -> what such a file is.
_MAGIC = {
    b"\x1f\x8b": "a gzip file; unpack it first",
    b"BZh": "a bzip2 file; unpack it first",
    b"\xfd7zXZ": "an xz file; unpack it first",
    b"\x28\xb5\x2f\xfd": "a Zstandard file; unpack it first",
    b"7z\xbc\xaf": "a 7-Zip file; unpack it first",
    b"\x80\x02": "a Python pickle",
    b"\x80\x04": "a Python pickle",
    b"\x80\x05": "a Python pickle",
    b"\x93NUMPY": "a NumPy array",
    b"GGUF": "a GGUF model",
    b"\x08": "perhaps an ONNX or TensorFlow graph",
    b"version https://git-lfs": "a Git LFS pointer, not the file itself",
    b"<!DOCTYPE": "an HTML page, perhaps an error page of the server",
    b"<html": "an HTML page, perhaps an error page of the server",
    b"{": "JSON; of JSON files only a `*.weights.json` shard map holds a model",
}


def refuse_unknown_file(start: bytes) -> BrokenRule:
    """For a file that starts with neither zip's nor HDF5's signature."""
    if not start:
        return BrokenRule("it is empty", FETCH_AGAIN)
    if start[4:8] == b"TFL3":
        looks_like = "a TensorFlow Lite model"
    elif start[8:9] == b"{" and start[4:8] == b"\0" * 4:
        looks_like = "a safetensors file"
    elif start[257:262] == b"ustar":
        looks_like = "a tar file; unpack it first"
    else:
        known = (what for magic, what in _MAGIC.items() if start.startswith(magic))
        looks_like = next(known, f"bytes that start with {start[:8]!r}")
    return BrokenRule(f"it is not a Keras 3 model; it looks like {looks_like}", _EXPORT)


def refuse_foreign_zip(names: list[str]) -> BrokenRule | None:
    """For a zip file with members that Keras never writes."""
    if any(name.endswith("data.pkl") for name in names):
        return BrokenRule("it is a PyTorch checkpoint", _EXPORT)
    if "model.weights.npz" in names:
        return BrokenRule(
            "its weights are in the npz format, which Keras writes but cannot load",
            'Save the model again with `weights_format="h5"`.',
        )
    if names and all(name.endswith(".npy") for name in names):
        return BrokenRule("it is a NumPy .npz file", _EXPORT)
    return None


def refuse_foreign_directory(path: Path) -> BrokenRule:
    """For a directory without `config.json`."""
    if (path / "saved_model.pb").exists():
        return BrokenRule("it is a TensorFlow SavedModel", _EXPORT)
    if (path / "_CHECKPOINT_METADATA").exists() or (path / "pytree").exists():
        return BrokenRule(
            "it is an Orbax checkpoint",
            "Load it with `keras.saving.load_model` and save it as `.keras`.",
        )
    if any(path.glob("model.weights.*")):
        return BrokenRule(
            "it has weights and no config.json",
            "Fetch config.json as well, or open the `.weights.h5` file alone.",
        )
    return BrokenRule(
        "it is not the directory of a Keras 3 model: config.json is missing",
        "Give a `.keras` file, a directory made by `model.save(..., zipped=False)`, or "
        "a preset of KerasHub.",
    )
