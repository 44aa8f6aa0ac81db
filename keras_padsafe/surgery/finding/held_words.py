"""The words of lookups that a class holds and config.json does not spell out."""

from collections.abc import Iterator
from dataclasses import replace

from keras_padsafe.archive import Archive
from keras_padsafe.facts.operations import BINS, LOOKUPS
from keras_padsafe.saved_model.config_path import ConfigPath
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.surgery.finding.asking import Asking
from keras_padsafe.surgery.finding.counting_numbers import word_lists
from keras_padsafe.surgery.finding.doubt import Doubt
from keras_padsafe.surgery.finding.model_file import ModelFile
from keras_padsafe.surgery.finding.shown_tables import counted_list
from keras_padsafe.surgery.finding.sites import WordsSite
from keras_padsafe.surgery.finding.vocabulary import Draft
from keras_padsafe.surgery.finding.words import lookup_words


def bind_held_words(model: ModelFile, asking: Asking, drafts: list[Draft]) -> None:
    """Adds the words of lookups that stand beside a table inside a class.

    In a Sequential model a lookup feeds the table after it. Where a class holds one
    lookup and one table, the lookup is taken to feed the table, and the proof shows
    that the new words reach the new rows. Of several, none is taken.
    """
    spelled = {node.weights_path for node in model.layers}
    held = [
        group
        for group in asking.skeleton.counters
        if group not in spelled and "/_lookup_layer" not in group
    ]
    for draft in drafts:
        if draft.words or not held:
            continue
        beside = _beside(draft, held)
        others = [other for other in drafts if other is not draft]
        sole = not any(set(beside) & set(_beside(o, held)) for o in others)
        if len(beside) == 1 and (sole or _in_sequential(asking, beside[0])):
            _bind(model, asking, draft, beside[0])
        elif beside:
            names = ", ".join(repr(group) for group in beside)
            draft.notes.append(
                f"The model holds the lookup layers {names}, and the file does not "
                f"say which of them makes the ids of {draft.name!r}. So these ids "
                "have no words here: add them as rows, and set the words of the "
                "lookup layer in Keras."
            )


def _beside(draft: Draft, held: list[str]) -> list[str]:
    """The held lookups in the innermost place that one of the tables is in too."""
    place = draft.arrays[0].path.partition("/vars/")[0].rpartition("/")[0]
    while place:
        found = [group for group in held if f"{group}/".startswith(f"{place}/")]
        if found:
            return found
        place = place.rpartition("/")[0]
    return held


def _in_sequential(asking: Asking, group: str) -> bool:
    holder = group.rpartition("/layers/")[0]
    return type(asking.skeleton.objects.get(holder)).__name__ == "Sequential"


def _bind(model: ModelFile, asking: Asking, draft: Draft, group: str) -> None:
    node = asking.node(group)
    if node.kind in BINS:
        draft.unexplained.append(_hashed(draft, group, node))
    elif node.kind in LOOKUPS:
        site = _site(model.archive, asking, node)
        if site is not None:
            draft.words.append(site)
            draft.layers.append(node.name)
            draft.is_made_inside = False  # The lookup makes them of what comes in.


def _hashed(draft: Draft, group: str, node: LayerNode) -> Doubt:
    return Doubt(
        group,
        f"{node.class_name} {group!r} makes the ids of {draft.name!r}, which are bin "
        "numbers. No word ever reaches a new row, and with more bins old words get "
        "other ids",
        "Train a model with more bins instead",
    )


def _site(archive: Archive, asking: Asking, node: LayerNode) -> WordsSite | None:
    reason = f"shown: {node.weights_path!r} stands beside the table"
    if node.config.get("vocabulary") is None:
        found = lookup_words(node, archive, reason)
        return found[0] if found else None
    place = next(_places(asking, node.weights_path or ""), None)
    site = None if place is None else counted_list(asking, place, node, 0)
    return site and replace(site, reason=reason, is_counted=False)


def _places(asking: Asking, group: str) -> Iterator[ConfigPath]:
    """The lists of config.json that the lookup takes its words from."""
    for place in word_lists(asking):
        if group in asking.vary([place]).counters:
            yield place
