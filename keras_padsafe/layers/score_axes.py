"""Where the axes of queries and keys lie in the scores of attention."""

from keras import ops

from keras_padsafe.types import Shape, Tensor


class ScoreAxes:
    """Carries masks between the layout of the inputs and that of the scores.

    Inputs are `(batch, ..., dim)`, and attention runs over some of their axes.
    Scores are `(batch, other axes, heads, query axes, key axes)`. For the usual
    inputs, `(batch, time, dim)`, that is `(batch, heads, query, key)`.

    Args:
        rank: Rank of the inputs, the features left out.
        attention_axes: The axes, counted with the batch, that are attended over.
    """

    def __init__(self, rank: int, attention_axes: tuple[int, ...]) -> None:
        other = tuple(axis for axis in range(rank) if axis not in attention_axes)
        self._rank = rank
        self._order = (*other, *attention_axes)
        self._heads = len(other)
        self.first = attention_axes[0]
        self.count = len(attention_axes)

    def shape(self, query: Shape, heads: int, key: Shape) -> Shape:
        """Returns the shape of the scores of a query and a key of these shapes."""
        query, key = (tuple(x[axis] for axis in self._order) for x in (query, key))
        return (
            *query[: self._heads],
            heads,
            *query[self._heads :],
            *key[self._heads :],
        )

    def spread_keys(self, mask: Tensor) -> Tensor:
        """Lays a mask of the keys out over the scores, 1 where it says nothing."""
        mask = self._spread(mask)
        for _ in range(self.count):
            mask = ops.expand_dims(mask, self._heads)
        return mask

    def spread_queries(self, mask: Tensor) -> Tensor:
        """Lays a mask of the queries out over the scores."""
        mask = self._spread(mask)
        for _ in range(self.count):
            mask = ops.expand_dims(mask, -1)
        return mask

    def spread_band(self, mask: Tensor) -> Tensor:
        """Lays a mask `(query, key)` out over scores with one axis of each."""
        while len(mask.shape) < self._rank + 1 + self.count:
            mask = ops.expand_dims(mask, 0)
        return mask

    def hiding_nothing(self) -> Tensor:
        """Returns the smallest mask of the rank of the scores."""
        return ops.ones((1,) * (self._rank + 1 + self.count), dtype="bool")

    def real_queries(self, mask: Tensor) -> Tensor:
        """Marks, as the inputs lie, the queries that see any key in any head."""
        keys = tuple(range(-self.count, 0))
        return self._unspread(ops.any(mask, axis=(self._heads, *keys)))

    def seen_keys(self, mask: Tensor, query_mask: Tensor | None = None) -> Tensor:
        """Marks, as the inputs lie, the keys that any real query sees in any head."""
        queries = tuple(range(-2 * self.count, -self.count))
        if query_mask is not None:
            asking = self.spread_queries(query_mask)
            if all(mask.shape[axis] == 1 for axis in queries):
                asking = ops.any(asking, axis=queries, keepdims=True)
            mask = ops.logical_and(mask, asking)
        return self._unspread(ops.any(mask, axis=(self._heads, *queries)))

    def _spread(self, mask: Tensor) -> Tensor:
        while len(mask.shape) < self._rank:
            mask = ops.expand_dims(mask, -1)
        return ops.expand_dims(ops.transpose(mask, self._order), self._heads)

    def _unspread(self, mask: Tensor) -> Tensor:
        back = tuple(self._order.index(axis) for axis in range(self._rank))
        return ops.transpose(mask, back)
