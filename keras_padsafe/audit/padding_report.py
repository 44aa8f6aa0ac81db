"""What a padding audit found, and what it measured."""

from dataclasses import dataclass
from typing import Literal

from keras_padsafe.audit.audit_report import AuditReport

Verdict = Literal["same", "noise", "moved", "leak", "not finite", "skipped"]

_SAID = {
    "gradient": "a gradient at the padding",
    "other side": "padding on the other side",
    "other mates": "other rows beside it",
    "alone": "no other row beside it",
}


def said(variant: str) -> str:
    """The words for a variant, which a report names by its key."""
    return _SAID.get(variant, variant)


@dataclass(frozen=True)
class PaddingVariant:
    """The model asked the same question in another way.

    Attributes:
        code: What a movement would be: a code of `keras_padsafe.audit.CODES`.
        moved: How far the model's outputs moved at real positions; for `"gradient"`,
            the largest gradient at a padded position as a share of that at a real one.
            Infinite where a number became NaN; `None` if skipped.
        noise: How far rounding alone moves those outputs.
        verdict: `"same"`: bit for bit. `"noise"`: no more than rounding does. `"leak"`:
            more. `"moved"`: the same where that is no fault: padding on the other
            side. `"not finite"`: NaN or infinity in padding reached an answer.
        first: Where it began: the path of the first layer that moved.
        why: Why it was skipped.
    """

    code: str
    moved: float | None
    noise: float
    verdict: Verdict
    first: str | None = None
    why: str | None = None


@dataclass(frozen=True)
class LayerMovement:
    """How far one layer's output moved.

    Attributes:
        path: The names of the layers that it was called in, and its own.
        kind: Its class.
        moved: The largest movement at a real position of any row.
        noise: How far rounding alone moves it.
        positions: How far each position of the row `PaddingReport.row` moved; `None`
            if the output has no time axis.
    """

    path: str
    kind: str
    moved: float
    noise: float
    positions: tuple[float, ...] | None


@dataclass(frozen=True)
class PadOutputs:
    """What the last sequence of vectors holds at its padded positions.

    Attributes:
        path: The layer that it comes from.
        padded_norm: The mean length of a vector at a padded position.
        real_norm: The same at a real position.
        by_position: The share of the variance of the padded vectors that goes with
            their position.
        by_sentence: The share that goes with their row.
        share_of_mean: How much of an unmasked mean over time comes from padding:
            the distance to the mean over real positions, relative to its length; the
            average over rows that hold padding.
        cosine: The cosine between the two means.
    """

    path: str
    padded_norm: float
    real_norm: float
    by_position: float
    by_sentence: float
    share_of_mean: float
    cosine: float


@dataclass(frozen=True)
class PaddingReport(AuditReport):
    """What a padding audit found, and what it measured.

    Attributes:
        variants: How far the answer moved in each variant, by name.
        noise_floor: How far rounding alone moves the model's outputs.
        layers: How far each layer moved in the variant `pictured`, in order.
        pictured: The variant of `layers`.
        row: The row of the batch that `LayerMovement.positions` are of.
        real: Which positions of that row are real.
        pad_outputs: What the last sequence of vectors holds at padded positions;
            `None` if there is no such sequence.
        empty_rows: The rows that hold nothing but padding: their answers are not
            judged.
    """

    variants: dict[str, PaddingVariant]
    noise_floor: float
    layers: tuple[LayerMovement, ...]
    pictured: str
    row: int
    real: tuple[bool, ...]
    pad_outputs: PadOutputs | None
    empty_rows: tuple[int, ...]
