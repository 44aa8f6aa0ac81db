"""What the attention layers with projections share: everything about masks."""

import inspect
from typing import Any, NamedTuple

import keras
from keras import ops

from keras_padsafe.compat import set_keras_mask
from keras_padsafe.errors import MaskError, PadsafeError
from keras_padsafe.layers.score_axes import ScoreAxes
from keras_padsafe.layers.shared_rows import attend_by_rows, shared_rows
from keras_padsafe.ops.attention_masks import read_padding_mask, read_score_mask
from keras_padsafe.ops.hide import hide
from keras_padsafe.ops.masks import (
    causal_mask,
    combine_masks,
    segment_mask,
    sliding_window_mask,
)
from keras_padsafe.ops.real_tokens import (
    can_pack,
    number_rows,
    on_real_tokens,
    why_whole,
)
from keras_padsafe.types import Tensor

# Arguments that Keras 3.12 does not have, with the value that means "not used".
_LATER = {"sliding_window": None, "use_gate": False}


class _Inputs(NamedTuple):
    """What the masks of a call have been read into.

    `attention_mask` has the rank of the scores; `key_mask` is that of the values too.
    Where rows of a batch share one, each query and key has the number of its row.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    query_mask: Tensor | None
    key_mask: Tensor | None
    attention_mask: Tensor | None
    query_rows: Tensor | None = None
    key_rows: Tensor | None = None


class ProjectedAttention:
    """The call of an attention layer that projects its inputs.

    Put before a layer of Keras in the bases of a class, it replaces the call and
    leaves arguments and weights alone. It uses the projections that the layer
    built (`_query_dense` and its like), as a subclass does. And it keeps
    `flash_attention`, which Keras forgets in the config and reads `False` as
    `None`.

    Padding is removed from the inputs, before the projections: what a padded
    position holds then reaches neither an output nor the gradient of a weight.
    Removing it from the projected values would leave `0 * NaN` in the latter.
    """

    _flash_attention: bool | None
    _query_dense: Any
    _key_dense: Any
    _value_dense: Any
    _output_dense: Any

    def __init__(self, *, flash_attention: bool | None = None, **kwargs: Any) -> None:
        stock = super().__init__
        known = inspect.signature(stock).parameters
        for name, default in _LATER.items():
            if name not in known and kwargs.pop(name, default) != default:
                raise PadsafeError(
                    f"`{name}` needs a later Keras than the installed "
                    f"{keras.__version__}, whose attention layer does not have it. "
                    "Update Keras or leave the argument out."
                )
        stock(flash_attention=flash_attention, **kwargs)  # type: ignore[call-arg]
        self._requested_flash_attention = flash_attention
        if flash_attention is not None:
            self._flash_attention = flash_attention

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()  # type: ignore[misc]
        return {**config, "flash_attention": self._requested_flash_attention}

    def _score_axes(self, query: Tensor) -> ScoreAxes:
        raise NotImplementedError

    def _score_heads(self) -> int:
        raise NotImplementedError

    def _window(self) -> int | None:
        raise NotImplementedError

    def _kernel_is_causal(self, query: Tensor, key: Tensor) -> bool:
        """Whether `_attend` takes `is_causal` where there is no other mask."""
        raise NotImplementedError

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None,
        training: bool | None,
        return_scores: bool,
        is_causal: bool,
    ) -> tuple[Tensor, Tensor | None]:
        """Attends with projected, clean tensors `(batch, time, heads, head_dim)`."""
        raise NotImplementedError

    def call(
        self,
        query: Tensor,
        value: Tensor,
        key: Tensor | None = None,
        query_mask: Tensor | None = None,
        value_mask: Tensor | None = None,
        key_mask: Tensor | None = None,
        attention_mask: Tensor | None = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        use_causal_mask: bool = False,
    ) -> Any:
        keys: Tensor = value if key is None else key
        axes = self._score_axes(query)
        query_mask = _read_padding(query_mask, query, "query_mask")
        value_mask = _read_padding(value_mask, value, "value_mask")
        key_mask = _read_padding(key_mask, keys, "key_mask")
        if value_mask is not key_mask:
            key_mask = combine_masks(key_mask, value_mask)
        if attention_mask is not None:
            shape = axes.shape(query.shape, self._score_heads(), keys.shape)
            attention_mask = read_score_mask(
                attention_mask, shape, "attention_mask", axes.count
            )
        masks = query_mask, key_mask, attention_mask
        rows = shared_rows(query, keys)
        given = _Inputs(query, keys, value, *masks, rows, rows)
        options = training, return_attention_scores, use_causal_mask
        scores = None
        if return_attention_scores:
            output, scores = self._attend_whole(given, *options)
        elif self._why_whole(given, training):
            output = attend_by_rows(
                lambda q, k, v: self._attend_whole(
                    given._replace(query=q, key=k, value=v), *options
                )[0],
                rows,
                *given[:3],
            )
        else:
            output = self._attend_on_real(given, *options)
        if query_mask is not None:
            set_keras_mask(output, query_mask)
        return (output, scores) if return_attention_scores else output

    def _why_whole(self, given: _Inputs, training: bool | None) -> str | None:
        """Says why the layer attends on padding too, or `None` if it does not."""
        if len(given.query.shape) != 3 or len(given.value.shape) != 3:
            return "attention runs along several axes, or over more than sequences"
        if not _is_ours(self._compute_attention):
            return "a subclass attends in its own way"
        if any(layer.activity_regularizer for layer in self._flatten_layers()):
            return "a loss is taken from what is projected, padding or not"
        masks = given.query_mask, given.key_mask
        tensors = given.query, given.key, given.value
        return why_whole(tensors, masks, training=training)

    def _attend_on_real(
        self, given: _Inputs, training: bool | None, _: bool, use_causal_mask: bool
    ) -> Tensor:
        queries, keys = {1: given.query_mask}, {1: given.key_mask}
        both = {2: queries[1], 3: keys[1]}
        along = queries, keys, keys, queries, keys, both, queries, keys
        packs = _can_share_rows(given)
        if packs:
            given = _with_rows(given)
        specs = [keras.KerasTensor(x.shape, x.dtype) for x in given[:3]]
        compares = use_causal_mask or self._window() is not None
        whole = given.query_mask is None or given.key_mask is None
        return on_real_tokens(
            lambda *cuts: self._attend_whole(
                _Inputs(*cuts), training, False, use_causal_mask
            )[0],
            list(zip(given, along, strict=True)),
            output=self.compute_output_spec(specs[0], specs[2], specs[1]),
            output_along=queries,
            variables=self.variables,
            starts="own" if not compares else "zero" if whole else "same",
            packs=packs,
        )

    def _attend_whole(
        self,
        given: _Inputs,
        training: bool | None,
        return_attention_scores: bool,
        use_causal_mask: bool,
    ) -> tuple[Tensor, Tensor | None]:
        query, keys, value, query_mask, key_mask, attention_mask, *rows = given
        axes = self._score_axes(query)
        mask = combine_masks(
            None if key_mask is None else axes.spread_keys(key_mask),
            attention_mask,
            None if rows[0] is None else segment_mask(*rows)[:, None],
        )
        if use_causal_mask and mask is None and query_mask is not None:
            mask = axes.hiding_nothing()  # Some keys may be seen by padding only.
        mask, is_causal = self._add_bands(mask, use_causal_mask, axes, query, keys)
        if query is keys is value and query_mask is key_mask and attention_mask is None:
            query = keys = value = hide(query, query_mask)  # Each sees itself.
        else:
            query, keys, value = _clean(axes, query, keys, value, query_mask, mask)
        output, scores = self._attend(
            self._query_dense(query),
            self._key_dense(keys),
            self._value_dense(value),
            mask,
            training,
            return_attention_scores,
            is_causal,
        )
        gate = getattr(self, "_gate_dense", None)
        if gate is not None:
            output = ops.multiply(output, gate(query))
        output = self._output_dense(output)
        if query_mask is not None:
            output = hide(output, query_mask)
            if scores is not None:
                scores = hide(scores, axes.spread_queries(query_mask))
        return output, scores

    def _add_bands(
        self,
        mask: Tensor | None,
        use_causal_mask: bool,
        axes: ScoreAxes,
        query: Tensor,
        key: Tensor,
    ) -> tuple[Tensor | None, bool]:
        """Adds the window and causality to the mask, unless the kernel does it."""
        window = self._window()
        if not use_causal_mask and window is None:
            return mask, False
        if axes.count != 1:
            raise MaskError(
                "`use_causal_mask` and `sliding_window` need one attention axis. "
                f"Received: a layer with {axes.count}. Pass `attention_mask` instead."
            )
        if window is None and mask is None and self._kernel_is_causal(query, key):
            return None, True
        lengths = ops.shape(query)[axes.first], ops.shape(key)[axes.first]
        band = combine_masks(
            causal_mask(*lengths) if use_causal_mask else None,
            None if window is None else sliding_window_mask(*lengths, window),
        )
        return combine_masks(mask, axes.spread_band(band)), False

    def compute_output_spec(
        self, query: Tensor, value: Tensor, key: Tensor | None = None, **kwargs: Any
    ) -> Any:
        spec = super().compute_output_spec(query, value, key, **kwargs)  # type: ignore[misc]
        output = spec[0] if isinstance(spec, tuple) else spec
        if kwargs.get("query_mask") is not None:
            set_keras_mask(output, kwargs["query_mask"])
        if not kwargs.get("return_attention_scores"):
            return output
        keys: Tensor = value if key is None else key
        axes = self._score_axes(query)
        shape = axes.shape(query.shape, self._score_heads(), keys.shape)
        return output, keras.KerasTensor(shape, dtype=self.compute_dtype)  # type: ignore[attr-defined]


def refuse_flash_scores(flash_attention: bool | None, return_scores: bool) -> None:
    """Refuses what no flash kernel can do, in the words of Keras."""
    if flash_attention and return_scores:
        raise PadsafeError(
            "Returning attention scores is not supported when flash attention is "
            "enabled. Please disable flash attention to access attention scores."
        )


def _can_share_rows(given: _Inputs) -> bool:
    """Whether rows of the batch can be run as one: all that is cut lies along them."""
    mask = given.attention_mask
    of_rows = mask is not None and mask.shape[2:] == (1, 1)
    return not of_rows and can_pack((given.query_mask, given.key_mask))


def _with_rows(given: _Inputs) -> _Inputs:
    queries = number_rows(given.query)
    same = given.query_mask is given.key_mask
    keys = queries if same else number_rows(given.key)
    return given._replace(query_rows=queries, key_rows=keys)


def _is_ours(method: Any) -> bool:
    return method.__func__.__module__.startswith("keras_padsafe.")


def _read_padding(mask: Tensor | None, x: Tensor, name: str) -> Tensor | None:
    return None if mask is None else read_padding_mask(mask, x.shape[:-1], name)


def _clean(
    axes: ScoreAxes,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    query_mask: Tensor | None,
    mask: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Sets to 0 the queries that see nothing and the keys that nothing real sees."""
    if mask is None and query_mask is None:
        return query, key, value
    mask = axes.hiding_nothing() if mask is None else mask
    query = hide(query, combine_masks(query_mask, axes.real_queries(mask)))
    seen = axes.seen_keys(mask, query_mask)
    clean_key = hide(key, seen)
    return query, clean_key, clean_key if value is key else hide(value, seen)
