"""Binds all that follows a vocabulary's numbers, as Keras builds the model.

Whatever grows by as much belongs to it, of whatever size; nothing else does.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from keras_padsafe.archive import StoredArray
from keras_padsafe.saved_model.config_path import config_key, value_at
from keras_padsafe.surgery.finding.asking import Asking
from keras_padsafe.surgery.finding.claims import counts_of
from keras_padsafe.surgery.finding.counting_numbers import (
    equal_numbers,
    needed_beside,
)
from keras_padsafe.surgery.finding.doubt import IN_KERAS, Doubt, adding
from keras_padsafe.surgery.finding.model_file import ModelFile
from keras_padsafe.surgery.finding.shown_tables import held_names, held_sites, owner_of
from keras_padsafe.surgery.finding.sites import ArraySite, ConfigSite, site_of
from keras_padsafe.surgery.finding.vocabulary import SAVED_AGAIN, Draft

if TYPE_CHECKING:
    from keras_padsafe.skeleton import Variation


_NEARLY = 4  # Beside the rows that a number counts there are some for a mask, say.


def bind_followers(model: ModelFile, asking: Asking, draft: Draft) -> None:
    """Adds arrays, slots and numbers that were shown to follow the vocabulary."""
    found = asking.vary(draft.numbers)
    if found.problem:
        _add_needed(model, asking, draft)
        found = asking.vary(draft.numbers)
    keys = ", ".join(config_key(place) for place in draft.numbers)
    if found.problem:
        draft.unexplained.append(
            Doubt(
                draft.name,
                f"Keras cannot build the model with a larger {keys}, so it is not "
                f"known what belongs to it. It says: {found.problem}",
                "Add --also for each layer that belongs to the vocabulary, or grow "
                "it in Keras",
            )
        )
        return
    draft.unexplained += _odd(draft, found, keys)
    bound = {site.path: site.axis for site in draft.arrays}
    built = {path: axis for path, axis in bound.items() if path not in asking.unlike}
    draft.unexplained += _unmoved(draft, asking, found, built, keys)
    variables = asking.skeleton.variables
    known = {id(variables[path]): path for path in bound if path in variables}
    for path, axis in found.axes.items():
        array = model.archive.arrays.get(path)
        if array is None or path.startswith("optimizer/"):
            continue
        if path not in {site.path for site in draft.arrays}:
            reason = f"shown: it follows {keys}"
            site, doubts = follower_site(draft, array, axis, reason)
            if twin := known.get(id(variables.get(path))):
                site = replace(site, role=SAVED_AGAIN, like=twin)
            elif path in asking.inside.tables:
                site = replace(site, role="embedding table", fill="rows")
            elif site.role == "embedding table":
                site = replace(site, role="head kernel")  # No id picks its rows.
            draft.arrays += held_sites(asking, model.archive.arrays, site, draft.size)
            draft.unexplained += doubts
            draft.layers += held_names(asking, path)
    draft.add_config(_records(asking, found, keys))
    _look_at_last_ids(model, asking, draft)


def _add_needed(model: ModelFile, asking: Asking, draft: Draft) -> None:
    """Adds a number without which nothing larger is built; its layer is settled so."""
    place = needed_beside(asking, draft.numbers, draft.size)
    layer = next(model.around(place)) if place else None
    if place is None or layer is None or model.claims.leaves(layer):
        return
    reason = "shown: Keras builds a larger model only with it"
    draft.add_config([ConfigSite(place, asking.value(place), "table", reason)])
    draft.unexplained = [d for d in draft.unexplained if d.place != layer.name]


def _look_at_last_ids(model: ModelFile, asking: Asking, draft: Draft) -> None:
    """A number that is an id of the table itself may name it, as that of an end.

    One of a layer's own keys is taken to count, and told if it is among the last; one
    among others, as of an index of words, is asked about.
    """
    said = {
        place
        for layer, _, claims in model.claimed
        for claim in claims
        for _, place, _ in counts_of(layer, claim.key or "")
    }
    for site in draft.config:
        may_name = site.follows == "table" and site.value < draft.size
        if not may_name or site.path in said or not site.reason.startswith("shown"):
            continue
        what = f"{config_key(site.path)}={site.value} counts the ids of {draft.name!r}"
        if site.path[-2:-1] == ("config",):
            if draft.size - site.value <= _NEARLY:
                draft.notes.append(
                    f"{what}, as its table grows with it. If it names one of them "
                    "instead, set it back in Keras. If the model finds the row of a "
                    "mask or of unknown ids by it, keep that row, and put new ids "
                    "before it (at=, --at)."
                )
            continue
        array = draft.arrays[0]
        key = asking.flag_key(site.path, owner_of(asking.root, array.path))
        claim = f"{array.path}:{array.axis}:{key}"
        draft.unexplained.append(
            Doubt(
                array.path,
                f"{what}, or names one of them: the table grows with it either way",
                f"{adding(claim)} if it counts them. If not, it cannot be grown in the "
                "file: grow it in Keras",
            )
        )


def follower_site(
    draft: Draft,
    array: StoredArray,
    axis: int,
    reason: str,
    skips: tuple[int, ...] = (),
    starts: tuple[int, ...] = (),
) -> tuple[ArraySite, list[Doubt]]:
    """The site of an array that follows, and what is not known of it."""
    missing = 0 if starts else draft.size - len(skips) - array.shape[axis]
    more = {"skips": skips, "starts": starts, "only_appends": missing > 0}
    site = site_of(array, axis, reason, **more)
    if missing >= 0:
        return site, []
    return site, [
        Doubt(
            array.path,
            f"array {array.path} of shape {array.shape} follows the vocabulary, but "
            f"has {-missing} entries more than the {draft.size} ids. The file does "
            "not say which entries belong to no id",
            IN_KERAS,
        )
    ]


def _odd(draft: Draft, found: "Variation", keys: str) -> Iterator[Doubt]:
    by_stretch = {
        site.path: site for site in draft.arrays if site.starts or site.quantised
    }
    grown = {(site.shape, _grown(site, found.by)) for site in by_stretch.values()}
    weights = [path for path in found.odd if not path.startswith("optimizer/")]
    alike: dict[str, list[str]] = {}
    for path in weights or found.odd:  # Slots change as their weights do.
        is_known = path in by_stretch or path not in weights
        if not (is_known and found.odd[path] in grown):
            alike.setdefault(_how(*found.odd[path], found.by), []).append(path)
    for how, (path, *others) in alike.items():
        before, after = (shape or "nothing" for shape in found.odd[path])
        more = f", and so do {len(others)} more" if others else ""
        yield Doubt(
            path,
            f"array {path} changes from {before} to {after} when {keys} grows by "
            f"{found.by}, {how}{more}",
            IN_KERAS,
        )


def _how(before: tuple[int, ...] | None, after: tuple[int, ...] | None, by: int) -> str:
    if before is None or after is None:
        return "as Keras then builds other arrays"
    gaps = {new - old for old, new in zip(before, after, strict=False)} - {0}
    if gaps == {by} and len(before) == len(after):
        return "as it runs over the ids along several axes"
    return "not by one entry for each id"


def _grown(site: ArraySite, by: int) -> tuple[int, ...]:
    more = max(len(site.starts), 1) * by
    shape, axis = site.shape, site.axis
    size = site.real_shape[axis] + more
    if site.quantised is not None and site.quantised.packed == axis:
        size = (size + 1) // 2
    return (*shape[:axis], size, *shape[axis + 1 :])


def _unmoved(
    draft: Draft, asking: Asking, found: "Variation", bound: dict[str, int], keys: str
) -> Iterator[Doubt]:
    for path, axis in bound.items():
        if found.axes.get(path) == axis or path in found.odd:
            continue
        remedy = (
            f"{adding(f'{path}:{axis}:KEY')} with the configuration key that counts it"
            if set(equal_numbers(asking, draft.size)) - set(draft.numbers)
            else "Nothing that makes ids or columns of them counts it, such as an "
            "Embedding or a CategoryEncoding, so it cannot be grown in the file: grow "
            "it in Keras"
        )
        yield Doubt(
            path,
            f"axis {axis} of {path} does not follow {keys} when Keras builds it",
            remedy,
        )


def _records(asking: Asking, found: "Variation", keys: str) -> Iterator[ConfigSite]:
    """Numbers that the file has where Keras writes one that follows."""
    reason = f"shown: Keras writes it so where {keys} grows"
    for place in sorted(found.config, key=str):
        try:
            value = asking.value(place)
            written = value_at(asking.skeleton.config, place)
        except (KeyError, IndexError, TypeError):
            continue
        if type(value) is int and value == written:
            yield ConfigSite(place, value, "record", reason)
