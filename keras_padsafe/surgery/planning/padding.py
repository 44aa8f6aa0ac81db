"""The change that makes a new id mean padding."""

from dataclasses import replace

from keras_padsafe.errors import SurgeryError
from keras_padsafe.facts.operations import LOOKUPS
from keras_padsafe.surgery.finding.sites import WordsSite
from keras_padsafe.surgery.finding.vocabulary import Vocabulary
from keras_padsafe.surgery.planning.change import Change


def padded(vocabulary: Vocabulary, change: Change, id_: int, count: int) -> Change:
    """The change in which the new id `id_` means padding.

    Raises:
        SurgeryError: if the tables or the lookups of the vocabulary cannot be told.
    """
    problem = _problem(vocabulary, change, id_, count)
    if problem:
        raise SurgeryError(f"pad: {problem}")
    return replace(change, pad=id_)


def takes_mask_token(vocabulary: Vocabulary, change: Change) -> bool:
    """Whether lookup layers call the padding by a word of its own, which has id 0."""
    return change.pad == 0 and any(_is_lookup(site) for site in vocabulary.words)


def _is_lookup(site: WordsSite) -> bool:
    return site.class_name in LOOKUPS


def _problem(
    vocabulary: Vocabulary, change: Change, id_: int, count: int
) -> str | None:
    name = vocabulary.name
    follows = [site.follows for site in vocabulary.config]
    if count != 1:
        return f"received {count} new ids. Expected: one, the id of padding."
    if vocabulary.pad_ids:
        return (
            f"id {vocabulary.pad_ids[0]} of vocabulary {name!r} already means "
            "padding. Expected: a vocabulary without padding."
        )
    if vocabulary.maskless:
        return (
            f"table {vocabulary.maskless[0]!r} of vocabulary {name!r} has no "
            "configuration key that says what is padding. Grow without pad, and mask "
            "the new id in its class."
        )
    if {"mask_zero", "pad_id"} <= set(follows):
        return (
            f"some tables of vocabulary {name!r} name a pad id, and others can mask id "
            "0 only. Expected: tables of one class."
        )
    if id_ != 0 and "mask_zero" in follows:
        return (
            f"the table of vocabulary {name!r} can mask only id 0, and the new id is "
            f"{id_}. Expected: at=0 (--at 0)."
        )
    lookups = [site for site in vocabulary.words if _is_lookup(site)]
    if id_ != 0 or not lookups:
        return None
    if follows.count("mask_token") < len({site.layer for site in lookups}):
        return (
            f"{lookups[0].class_name} {lookups[0].layer!r} already gives id 0 to "
            "padding, but the table does not mask it. Expected: a table with "
            "mask_zero=True. Set it in Keras; no new id is needed."
        )
    return None
