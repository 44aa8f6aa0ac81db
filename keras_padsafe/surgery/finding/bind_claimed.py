"""Adds what the user vouches for."""

from collections.abc import Iterator

from keras_padsafe.archive import StoredArray
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.surgery.finding.claims import Also
from keras_padsafe.surgery.finding.model_file import ModelFile, add_config
from keras_padsafe.surgery.finding.sites import ArraySite, ConfigSite
from keras_padsafe.surgery.finding.tables import size_sites
from keras_padsafe.surgery.finding.vocabulary import Unexplained, Vocabulary


def bind_claimed(model: ModelFile, vocabulary: Vocabulary) -> None:
    """Adds the arrays that the user says belong, and the key that counts them."""
    bound = {site.path for site in vocabulary.arrays}
    for layer, array in model.arrays():
        claims = model.claims.on(layer, array)
        claim = next(
            (c for c in claims if array.shape[c.axis] == vocabulary.size), None
        )
        if claim is None:
            continue
        if array.path not in bound:
            vocabulary.arrays.append(claimed_site(array, claim))
        if layer.name not in vocabulary.layers:
            vocabulary.layers.append(layer.name)
        add_config(vocabulary, _size_keys(layer, vocabulary, claim))


def claimed_site(array: StoredArray, claim: Also) -> ArraySite:
    """The site that a claim makes of an array."""
    is_bias = len(array.shape) == 1
    role = "head bias" if is_bias else "head kernel"
    return ArraySite(
        array.path,
        array.shape,
        array.dtype,
        claim.axis,
        "embedding table" if claim.axis == 0 and not is_bias else role,
        "bias" if is_bias else "rows",
        f"--also {claim.text}",
    )


def _size_keys(
    layer: LayerNode, vocabulary: Vocabulary, claim: Also
) -> list[ConfigSite]:
    """The configuration key that holds the size, of the layer or of one around it."""
    size = vocabulary.size
    for node in _outwards(layer):
        keys = [k for k, v in node.config.items() if v == size and v is not True]
        named = [k for k in keys if _counts_words(k)]
        unnamed = keys if len(keys) == 1 else named
        chosen = [claim.key] if claim.key in keys else unnamed
        if len(chosen) == 1 and chosen[0] is not None:
            return size_sites(node, chosen[0], f"{node.key}, {chosen[0]}={size}")
        if keys:
            vocabulary.unexplained.append(
                Unexplained(
                    node.name,
                    f"several configuration keys of {node.name!r} hold {size}: "
                    f"{', '.join(keys)}",
                    f"Say --also {claim.place}:{claim.axis}:KEY with the one that "
                    "counts ids",
                )
            )
            return []
    return []


def _outwards(layer: LayerNode) -> Iterator[LayerNode]:
    node: LayerNode | None = layer
    while node is not None:
        yield node
        # A stock layer says all of its sizes itself.
        node = None if layer.is_stock else node.parent


def _counts_words(key: str) -> bool:
    return any(word in key for word in ("vocab", "token", "word", "input_dim"))
