"""For a test of one's own: a layer gets the mask of its inputs."""

from typing import TYPE_CHECKING, Any

from keras_padsafe.arguments import read_layer
from keras_padsafe.audit.read_batch import read_batch
from keras_padsafe.errors import MaskError

if TYPE_CHECKING:
    import keras

    from keras_padsafe.audit.masks.mask_story import MaskStory
    from keras_padsafe.audit.run.record_calls import CallRecord


def assert_mask_reaches(
    model: "keras.layers.Layer",
    layer: "str | keras.layers.Layer",
    batch: Any = None,
) -> None:
    """Raises unless a layer gets the mask of every padded input, wherever it is called.

    A mask that the inputs carry counts, and a mask argument: `mask=`,
    `attention_mask=`, `padding_mask=`. It has to hide all of the padding.

    Args:
        model: Any Keras model.
        layer: The layer: its name, its path ("encoder/attention"), or itself.
        batch: What the model is called on, with padding in it. If left out, a small
            batch is made from the model's inputs; a subclassed model has none.

    Raises:
        MaskError: if a mask does not reach the layer: the message says where it was
            last seen, where it was lost, and what to use instead. Also if the model
            never calls the layer, or a batch is needed.

    Example:

    >>> ids = keras.Input((None,), dtype="int32")
    >>> x = keras.layers.Embedding(9, 8, mask_zero=True)(ids)
    >>> x = keras.layers.LSTM(4, name="reader")(keras.layers.Dense(8)(x))
    >>> model = keras.Model(ids, x)
    >>> keras_padsafe.audit.assert_mask_reaches(model, "reader")
    """
    from keras_padsafe.audit.masks.mask_story import run_with_masks
    from keras_padsafe.audit.masks.padded_sample import padded_sample

    read_layer(model, "model", MaskError)
    if not isinstance(layer, str):
        read_layer(layer, "layer", MaskError)
    batch = padded_sample(model) if batch is None else batch
    calls, story = run_with_masks(model, read_batch(batch, "batch", MaskError))
    for call in _calls_of(calls, layer):
        _check(story, call)


def _calls_of(
    calls: "list[CallRecord]", layer: "str | keras.layers.Layer"
) -> "list[CallRecord]":
    def is_meant(call: "CallRecord") -> bool:
        if not isinstance(layer, str):
            return call.layer is layer
        return call.path == layer or call.path.endswith("/" + layer)

    found = [call for call in calls if is_meant(call)]
    if not found:
        name = repr(layer) if isinstance(layer, str) else repr(layer.name)
        layers = [call.path for call in calls[1:] if hasattr(call.layer, "weights")]
        paths = list(dict.fromkeys(layers))
        more = ", …" if len(paths) > 20 else ""
        raise MaskError(
            f"layer: the model does not call {name}. Expected the name, path or object "
            f"of one of: {', '.join(paths[:20])}{more}."
        )
    return found


def _check(story: "MaskStory | None", call: "CallRecord") -> None:
    from keras_padsafe.audit.masks.mask_findings import how_lost, instead

    name = f"'{call.path}' ({call.class_name})"
    if story is None or not story.padded_inputs(call):
        what = (
            "Expected: a mask made by an earlier layer, such as "
            "Embedding(mask_zero=True). No earlier layer makes one, or no padding is "
            "left here."
        )
        if any(value.mask is not None for value in call.outputs):
            what = "It makes a mask itself: name a layer after it."
        raise MaskError(f"{name} gets no input that has padding. {what}")
    for value in story.untold(call):
        loss = story.lost(value, call)
        if loss is None:
            seen = story.told_elsewhere(value)
            raise MaskError(
                f"no mask reaches {name}. The mask was last seen at '{seen}', as an "
                "argument. Pass it to this layer too: attention_mask=, padding_mask= "
                "or mask=."
            )
        what = f"no mask reaches {name}"
        if loss.how == "shown":
            what = f"{name} gets a mask that marks padding as real"
        raise MaskError(f"{what}. {how_lost(loss)}. {instead(loss)}")
