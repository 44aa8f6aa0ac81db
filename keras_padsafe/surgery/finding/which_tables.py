"""Which tables a model has: those with ids of their own, and those that share them."""

from collections.abc import Iterator
from dataclasses import replace

from keras_padsafe.errors import SurgeryError
from keras_padsafe.surgery.finding.bind_claimed import by_size, claimed_site
from keras_padsafe.surgery.finding.claims import Also
from keras_padsafe.surgery.finding.encodings import join_twins, known_encodings
from keras_padsafe.surgery.finding.model_file import ModelFile
from keras_padsafe.surgery.finding.shown_tables import shown_tables
from keras_padsafe.surgery.finding.sites import ArraySite
from keras_padsafe.surgery.finding.tables import Table, known_tables


def own_and_shared_tables(model: ModelFile) -> tuple[list[Table], list[Table]]:
    """The tables with ids of their own, and those that share the ids of another.

    The latter are those of which the user says that they belong to one of their size,
    which is none of positions.
    """
    found = [
        table
        for table in _found(model)
        if not model.claims.leaves_table(
            table.layer, table.arrays[0].path, is_inside=table.is_inside
        )
    ]
    said = model.said
    both: list[tuple[Table, Also | None]] = []
    for table in found:
        place = table.arrays[0].path, table.arrays[0].axis
        both.append((table, None if table.is_encoding else said.get(place)))
    made = model.asking.inside.positions if model.asking else frozenset()
    plain = (table for table, claim in both if claim is None)
    free = {table.size for table in plain if table.arrays[0].path not in made}
    shared = [_said(t, c) for t, c in both if c is not None and t.size in free]
    own = [t for t, c in both if c is None or _counts(t, c) or t.size not in free]
    places = {(site.path, site.axis) for table in found for site in table.arrays}
    settled = {said[place] for place in said.keys() & places}
    return [*own, *_of_other_sizes(model, {t.size for t in own}, settled)], shared


def _counts(table: Table, claim: Also) -> bool:
    """Whether a claim may only say what counts a table of which Keras was asked."""
    return claim.key is not None and table.name is not None


def _of_other_sizes(
    model: ModelFile, sizes: set[int], settled: set[Also]
) -> Iterator[Table]:
    """Arrays that the user vouches for, each of a size that no table has."""
    made: dict[Also, ArraySite] = {}
    for layer, array, claims in model.claimed:
        meant = by_size(layer, array, claims)
        is_whole = not claims[0].without
        if is_whole and settled.isdisjoint(claims) and sizes.isdisjoint(meant):
            site = claimed_site(array, claims[0])
            other = made.setdefault(claims[0], site)
            if other is not site:
                raise _of_two_sizes(model, claims[0], other, site)
            yield Table(layer, site.size, arrays=[site])
            sizes.add(site.size)


def _said(table: Table, claim: Also) -> Table:
    reason = f"said: --also {claim.text}"
    return replace(table, arrays=[replace(s, reason=reason) for s in table.arrays])


def _of_two_sizes(
    model: ModelFile, claim: Also, one: ArraySite, other: ArraySite
) -> SurgeryError:
    return SurgeryError(
        f"{model.archive.path}: also: {claim.text!r} means arrays of several sizes: "
        f"{one.path} with {one.size}, {other.path} with {other.size}. Expected: one "
        f"array. Pass --also {one.path}:{claim.axis}, or the other path."
    )


def _found(model: ModelFile) -> list[Table]:
    known = [*known_tables(model.root), *known_encodings(model)]
    join_twins(known, model)
    if model.asking is None:
        return known
    arrays = {array.path: array for _, array in model.arrays}
    shown, _ = shown_tables(model.asking, arrays, known)
    own = {site.path for table in shown for site in table.arrays}
    return [t for t in known if own.isdisjoint(s.path for s in t.arrays)] + shown
