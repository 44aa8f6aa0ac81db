"""Which tables a model has: those with ids of their own, and those that share them."""

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

    The latter are those of which the user says that they belong to one of their size;
    one with a key may be meant to be counted by it, and so is among the former too.
    """
    tables = [
        table
        for table in _found(model)
        if not model.claims.leaves_table(table.layer, table.arrays[0].path)
    ]
    said = {(a.path, c.axis): c for _, a, claims in model.claimed for c in claims}
    places = [(t.arrays[0].path, t.arrays[0].axis) for t in tables]
    claims = [
        None if table.is_encoding else said.get(place)
        for table, place in zip(tables, places, strict=True)
    ]
    both = list(zip(tables, claims, strict=True))
    free = {table.size for table, claim in both if claim is None}
    shared = [_said(t, c) for t, c in both if c is not None and t.size in free]
    tables = [t for t, c in both if c is None or c.key or t.size not in free]
    sizes = {table.size for table in tables}
    own = {(site.path, site.axis) for table, _ in both for site in table.arrays}
    settled = {said[place] for place in said.keys() & own}
    made: dict[Also, ArraySite] = {}
    for layer, array, claims in model.claimed:
        if settled.isdisjoint(claims) and sizes.isdisjoint(
            by_size(layer, array, claims)
        ):
            site = claimed_site(array, claims[0])
            other = made.setdefault(claims[0], site)
            if other is not site:
                raise _of_two_sizes(model, claims[0], other, site)
            tables.append(Table(layer, site.size, arrays=[site]))
            sizes.add(site.size)
    return tables, shared


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
