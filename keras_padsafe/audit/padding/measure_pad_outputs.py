"""What a sequence of vectors holds where padding is."""

import numpy as np

from keras_padsafe.audit.padding_report import PadOutputs


def measure_pad_outputs(
    path: str, vectors: np.ndarray, real: np.ndarray
) -> PadOutputs | None:
    """Measures the vectors at padded positions, and their part in a mean over time.

    Args:
        path: The layer that they come from.
        vectors: Array `(batch, time, dim)`.
        real: Bools `(batch, time)`.

    Returns:
        The figures; `None` if no row holds both padding and something real.
    """
    rows = (~real).any(1) & real.any(1)
    vectors, real = vectors[rows].astype("float64"), real[rows]
    if not rows.any() or not np.isfinite(vectors).all():
        return None
    norms = np.linalg.norm(vectors, axis=-1)
    everything = vectors.mean(1)
    alone = (vectors * real[..., None]).sum(1) / real.sum(1)[:, None]
    apart = np.linalg.norm(everything - alone, axis=-1)
    length = np.linalg.norm(everything, axis=-1)
    both = length * np.linalg.norm(alone, axis=-1)
    rows_of, positions_of = np.nonzero(~real)
    padded = vectors[~real]
    return PadOutputs(
        path=path,
        padded_norm=float(norms[~real].mean()),
        real_norm=float(norms[real].mean()),
        by_position=_explained(padded, positions_of),
        by_sentence=_explained(padded, rows_of),
        share_of_mean=float(np.mean(_ratio(apart, length))),
        cosine=float(np.mean(_ratio((everything * alone).sum(-1), both))),
    )


def _explained(vectors: np.ndarray, groups: np.ndarray) -> float:
    """The share of the variance that lies between groups."""
    centred = vectors - vectors.mean(0)
    total = np.square(centred).sum()
    # Vectors that are all alike differ by rounding alone.
    if total <= 1e-12 * np.square(vectors).sum():
        return 0.0
    _, number, counts = np.unique(groups, return_inverse=True, return_counts=True)
    sums = np.zeros((counts.size, vectors.shape[1]))
    np.add.at(sums, number, centred)
    return float(np.square(sums / np.sqrt(counts)[:, None]).sum() / total)


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.divide(a, b, out=np.zeros_like(a), where=b > 0)
