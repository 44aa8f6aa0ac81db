"""Whether padding changes what a model answers, and where that begins."""

from typing import TYPE_CHECKING, Any

from keras_padsafe.arguments import read_layer
from keras_padsafe.audit.padding_report import PaddingReport
from keras_padsafe.audit.read_batch import read_batch, read_pad_id
from keras_padsafe.errors import AuditError

if TYPE_CHECKING:
    import keras


def check_padding(
    model: "keras.layers.Layer", batch: Any, pad_id: Any = 0
) -> PaddingReport:
    """Finds the layer, if there is one, that lets padding change an answer.

    The model answers the same batch many times: with more padding and with less, with
    padding on the other side, in other company and alone, with other ids and other
    content behind the padding: random, ten thousand times too large, NaN. Last, the
    gradient of the answers by what padding holds, which is zero if nothing leaks.

    How far rounding alone moves an answer is measured, layer by layer, on the running
    backend: what moves eight times as far is a leak. The first layer where a real
    position moved is named. Where several leak, each is held still in turn to find the
    next. An answer that differs with padding on the other side is a note only: models
    that count positions do that.

    The model runs eagerly, as at inference, and stays as it is. Take a batch of a few
    rows: what every layer puts out is kept.

    Args:
        model: Any layer or model.
        batch: What the model takes: an array of ids or features, or a list, tuple or
            dict of such. Some rows need padding. What padding is, is said by a mask
            among the inputs; without one by the mask that the model makes, or by
            `pad_id`.
        pad_id: The id of padding, or several. A dict from the name of an input to its
            id where it is not clear which input is padded. For features, the number
            that fills padded steps, or `None` if a mask says it.

    Returns:
        A `PaddingReport`.

    Raises:
        AuditError: if the batch holds no padding, or nothing else; if it is not clear
            which input is padded; if the model's own answer holds NaN.

    Example:

    >>> import keras, keras_padsafe as kp
    >>> batch = np.array([[4, 8, 15, 16], [23, 42, 0, 0]])
    >>> model = keras.Sequential([
    ...     keras.layers.Embedding(50, 8),
    ...     keras.layers.GlobalAveragePooling1D(name="pool"),
    ... ])
    >>> report = kp.audit.check_padding(model, batch, pad_id=0)
    >>> [(finding.code, finding.place) for finding in report]
    [('PS402', 'pool')]
    >>> model = keras.Sequential([
    ...     keras.layers.Embedding(50, 8, mask_zero=True),
    ...     keras.layers.GlobalAveragePooling1D(),
    ... ])
    >>> kp.audit.check_padding(model, batch, pad_id=0).passed
    True
    """
    from keras_padsafe.audit.padding.padding_audit import padding_audit

    return padding_audit(
        read_layer(model, "model", AuditError),
        read_batch(batch, "batch", AuditError),
        read_pad_id(pad_id, "pad_id", AuditError),
    )
