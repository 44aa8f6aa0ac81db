"""Adds what the user vouches for."""

from dataclasses import replace
from itertools import islice, permutations
from typing import Any

from keras_padsafe.archive import StoredArray
from keras_padsafe.errors import SurgeryError
from keras_padsafe.saved_model.config_path import ConfigPath, config_key
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.saved_model.word_lists import first_id_in, has_entries, words_in
from keras_padsafe.surgery.finding.claims import Also, AlsoNumber, counts_of
from keras_padsafe.surgery.finding.counting_numbers import counting_numbers
from keras_padsafe.surgery.finding.doubt import IN_KERAS, Doubt, doubt_of
from keras_padsafe.surgery.finding.heads import head_of, skipping
from keras_padsafe.surgery.finding.may_be_ids import entries_of
from keras_padsafe.surgery.finding.model_file import ModelFile
from keras_padsafe.surgery.finding.quantised import quantised_sites
from keras_padsafe.surgery.finding.shown_tables import (
    counted_list,
    unbuilt,
    uncounted,
    unnumbered,
)
from keras_padsafe.surgery.finding.sites import (
    NO_ENTRY,
    ArraySite,
    ConfigSite,
    site_of,
)
from keras_padsafe.surgery.finding.vocabulary import Draft
from keras_padsafe.surgery.finding.words import words_site


def bind_claimed(model: ModelFile, drafts: list[Draft]) -> None:
    """Adds the arrays that the user says belong, and the numbers that count them."""
    owners = {s.path: d.name for d in drafts for t in d.tables for s in t.arrays}
    _check_without(model, drafts)
    _add_said_numbers(model, drafts)
    for vocabulary in drafts:
        for layer, array, claims in model.claimed:
            bound = {site.path: site.axis for site in vocabulary.arrays}
            claim = by_size(layer, array, claims).get(vocabulary.size)
            if claim is None:
                continue
            if array.path in owners.keys() - bound.keys():
                vocabulary.notes.append(
                    f"--also {claim.text} is of vocabulary {owners[array.path]!r}, "
                    "which stays as it is."
                )
                continue
            whole = {c.axis for c in claims if c.ids(array) == vocabulary.size}
            if claim.axis in whole and array.path not in bound:
                role = _role(model, vocabulary, array)
                made = claimed_site(array, claim, role)
                size = vocabulary.size - len(claim.without)
                vocabulary.arrays += [
                    replace(site, skips=claim.without)
                    for site in quantised_sites(layer, made, size)
                ]
            if model.asking and model.asking.lacks(array.path):
                vocabulary.unexplained.append(unbuilt(model.asking, array.path))
                continue
            if whole - {bound.get(array.path, claim.axis)}:
                vocabulary.unexplained.append(on_two_axes(layer, array.path))
            vocabulary.layers += layer.names
            _add_numbers(model, layer, array, claim, vocabulary)


def _add_said_numbers(model: ModelFile, drafts: list[Draft]) -> None:
    """Adds numbers and words that no array follows to the vocabularies they fit."""
    said = [(c, *at) for c in model.claims.numbers for at in c.places(model.root)]
    for (claim, place, _), (other, its, _) in permutations(said, 2):
        if claim.text != other.text and place[: len(its)] == its:
            raise SurgeryError(
                f"{model.archive.path}: also: {claim.text!r} and {other.text!r} both "
                f"say something of {config_key(its)}. Expected: one of them."
            )
    for claim, place, count in said:
        if claim.is_id:
            _add_said_ids(model, drafts, claim, place, count)
            continue
        if isinstance(count, list | dict):
            _add_said_list(model, drafts, claim, place, count)
            continue
        if claim.entry is not NO_ENTRY:
            raise SurgeryError(
                f"{model.archive.path}: also: {claim.text!r}: {config_key(place)} is "
                f"{count}, and no list. Expected: {claim.place}::{claim.key} alone."
            )
        exact = [draft for draft in drafts if draft.size == count]
        fitting = exact or [draft for draft in drafts if count in draft.near_sizes]
        if drafts and not fitting:
            due = "a number that is nearly as large as one of them"
            raise _of_no_vocabulary(model, drafts, claim, place, f"is {count}", due)
        for draft in fitting:
            reason = f"said: --also {claim.text}"
            draft.add_config([ConfigSite(place, count, "table", reason)])


def _add_said_ids(
    model: ModelFile,
    drafts: list[Draft],
    claim: AlsoNumber,
    place: ConfigPath,
    value: Any,
) -> None:
    """Adds a number that names an id, or all of a list, where each is an id."""
    ids = entries_of(value, place)
    most = max((id_ for _, id_ in ids), default=None)
    fitting = [draft for draft in drafts if most is not None and most < draft.size]
    if drafts and not fitting:
        is_list = isinstance(value, list | dict)
        what = f"lists {len(value)} entries" if is_list else f"is {value}"
        due = "ids, and nothing else" if is_list else "one of their ids"
        raise _of_no_vocabulary(model, drafts, claim, place, what, due)
    for draft in fitting:
        reason = f"said: --also {claim.text}"
        draft.add_config(ConfigSite(at, id_, "id", reason) for at, id_ in ids)


def _add_said_list(
    model: ModelFile,
    drafts: list[Draft],
    claim: AlsoNumber,
    place: ConfigPath,
    value: Any,
) -> None:
    """Adds words of the ids, or anything else of which there is one for each."""
    reason, fits = f"said: --also {claim.text}", False
    for draft in drafts:
        first, listed = first_id_in(value, draft.size), words_in(value)
        if listed is not None and first is not None and claim.entry is NO_ENTRY:
            fits, holder = True, next(model.around(place))
            site = words_site(holder, place, first, listed.words, reason)
            if all(one.config_path != place for one in draft.words):
                draft.words.append(replace(site, is_counted=True))
        elif has_entries(value, draft.size):
            site = ConfigSite(place, value, "entries", reason, default=claim.entry)
            fits = True
            draft.add_config([site])
            draft.words = [one for one in draft.words if one.config_path != place]
    if drafts and not fits:
        what = f"lists {len(value)} entries"
        due = "an entry for each id, or words with the id of each; or the key of a "
        due += "number"
        raise _of_no_vocabulary(model, drafts, claim, place, what, due)


def _of_no_vocabulary(
    model: ModelFile,
    drafts: list[Draft],
    claim: AlsoNumber,
    place: ConfigPath,
    what: str,
    due: str,
) -> SurgeryError:
    sizes = ", ".join(map(str, sorted({draft.size for draft in drafts})))
    return SurgeryError(
        f"{model.archive.path}: also: {claim.text!r}: {config_key(place)} {what}. "
        f"Found: vocabularies of {sizes} ids. Expected: {due}."
    )


def _role(model: ModelFile, vocabulary: Draft, array: StoredArray) -> str | None:
    """That of what no id picks, beside a table of which Keras shows that ids do."""
    inside = model.asking.inside.tables if model.asking else {}
    is_beside = any(site.path in inside for site in vocabulary.arrays)
    if array.path in inside:
        return "embedding table"
    return "head kernel" if is_beside and len(array.shape) > 1 else None


def on_two_axes(layer: LayerNode, path: str) -> Doubt:
    """An array that would have to grow along two axes."""
    return doubt_of(
        layer,
        f"holds {path}, which runs over the ids along two axes, for example from a "
        "column for each id to a score for each id",
        IN_KERAS,
    )


def claimed_site(array: StoredArray, claim: Also, role: str | None = None) -> ArraySite:
    """The site that a claim makes of an array."""
    reason, skips = f"said: --also {claim.text}", claim.without
    return site_of(array, claim.axis, reason, role, skips=skips)


def by_size(
    layer: LayerNode, array: StoredArray, claims: list[Also]
) -> dict[int, Also]:
    """The claims by how many ids they mean: a number may count more than an axis."""
    counted = {n: c for c in claims if not c.without for _, n in _said(layer, c)}
    return counted | {c.ids(array): c for c in reversed(claims)}


def _check_without(model: ModelFile, drafts: list[Draft]) -> None:
    """Refuses ids without an entry where no vocabulary has as many ids in all."""
    sizes = {draft.size for draft in drafts}
    for layer, array, claims in model.claimed:
        for claim in claims:
            others = [c for c in claims if c.axis == claim.axis]
            if claim.without and head_of(layer) is not None:
                arrays = layer.arrays.values()
                others = [c for one in arrays for c in model.claims.on(layer, one)]
            if any(other.without != claim.without for other in others):
                texts = dict.fromkeys(other.text for other in others)
                raise SurgeryError(
                    f"{model.archive.path}: also: {', '.join(map(repr, texts))} say "
                    f"different things of {layer.title}. Expected: one of them."
                )
            size = claim.ids(array)
            if claim.without and (size not in sizes or claim.without[-1] >= size):
                raise SurgeryError(
                    f"{model.archive.path}: also: {claim.text!r}: axis {claim.axis} of "
                    f"{array.path} has {array.shape[claim.axis]} entries, and so the "
                    f"vocabulary {size} ids, from 0 to {size - 1}. Found: vocabularies "
                    f"of {', '.join(map(str, sorted(sizes)))} ids. Expected: all ids "
                    "of one that have no entry there."
                )


def _add_numbers(
    model: ModelFile,
    layer: LayerNode,
    array: StoredArray,
    claim: Also,
    vocabulary: Draft,
) -> None:
    """Adds the numbers that count a claimed axis: said, known, or shown."""
    head = head_of(layer)
    if claim.key is not None:
        reason = f"said: --also {claim.text}"
        for place, count in _said(layer, claim):  # One that counts all skips none.
            skips = () if count == vocabulary.size else claim.without
            site = ConfigSite(place, count, "table", reason, skips=skips)
            vocabulary.add_config([site])
    elif head is not None and head.size == vocabulary.size - len(claim.without):
        head = skipping(head, claim.without)
        bound = {site.path for site in vocabulary.arrays}
        vocabulary.arrays += [site for site in head.arrays if site.path not in bound]
        vocabulary.add_config(head.config)
    elif model.asking and not model.follows(vocabulary, array.path, claim.axis):
        counting = counting_numbers(model.asking, array.path, claim.axis)
        if counting.rivals:
            found = uncounted(model.asking, array.path, claim.axis, counting)
            vocabulary.unexplained.append(found)
        reason = f"shown: axis {claim.axis} of {array.path} follows it"
        for place in counting.places:
            value = model.asking.value(place)
            if words_in(value) is None:
                skips = claim.without
                site = ConfigSite(place, value, "table", reason, skips=skips)
                vocabulary.add_config([site])
            elif words := counted_list(model.asking, place, layer, vocabulary.size):
                vocabulary.words.append(words)
            else:
                vocabulary.unexplained.append(unnumbered(array.path, place))


def _said(layer: LayerNode, claim: Also) -> list[tuple[ConfigPath, int]]:
    """The number that a claim names, the nearest one, and where it stands."""
    counts = islice(counts_of(layer, claim.key or ""), 1)
    return [(place, count) for _, place, count in counts]
