"""Which values each place of an input may take, old and new."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from keras_padsafe.facts.spare_words import is_spare
from keras_padsafe.proof.doors import Door
from keras_padsafe.proof.find_reach import Part, Reach
from keras_padsafe.proof.id_change import IdChange
from keras_padsafe.proof.model_inputs import ModelInput

_MOST, _REAL = 4096, 2


class NotShown(Exception):
    """Something cannot be looked at; the message says why and what to do."""


@dataclass(frozen=True)
class Pair:
    """A model and the one of its changed file, their doors, and what reaches them.

    The doors are one for one. `change` is `None` if ids stay what they are.
    """

    before: Any
    after: Any
    reach: Reach
    old: list[Door]
    new: list[Door]
    change: IdChange | None

    def is_changed(self, number: int) -> bool:
        """Whether a door takes ids or words of the vocabulary that changes."""
        if self.change is None:
            return False
        old, new = self.old[number], self.new[number]
        takers = (d for d in self.old if d.by_columns and d.size == old.size)
        if old.is_of(self.change.arrays) or (old.makes_columns and any(takers)):
            return True
        return old.words != new.words

    def last_kept(self, side: int) -> list[int]:
        """For each door the id before, or after, of a row that both models have."""
        rows = list[int]()
        for number, (old, new) in enumerate(zip(self.old, self.new, strict=True)):
            changed = self.change if self.is_changed(number) else None
            row_map = changed and changed.along(old.size, new.size)
            kept = row_map.kept[1 - side][-1:].tolist() if row_map else []
            rows += kept or [old.size - 1]
        return rows

    def changed_ids(self, doors: tuple[int, ...]) -> list[int]:
        """Those of the doors that take ids of the vocabulary."""
        return [n for n in doors if self.old[n].kind == "ids" and self.is_changed(n)]


@dataclass(frozen=True)
class Pool:
    """The values that some places of an input may take.

    Attributes:
        old: What both models know, as the old one calls it.
        new: The same, as the new one calls it.
        fresh: What the new model alone knows; `None` if the vocabulary is not asked
            for here.
        beyond: Ids that neither model has, those above and those below; none where
            they cannot be asked for.
        alone: Those of `fresh` that do not stand for padding.
        is_computed: Whether the model computes ids of it that have other numbers now.
    """

    old: np.ndarray
    new: np.ndarray
    fresh: np.ndarray | None
    beyond: tuple[np.ndarray, ...]
    alone: np.ndarray
    is_computed: bool = False


def pool_of(pair: Pair, part: Part, low: int, above: int) -> Pool | None:
    """What places may take but for some ids at both ends; `None`: plain values."""
    if words := [n for n in part.doors if pair.old[n].kind == "words"]:
        found = _words_of(pair, part, words)
    elif any(pair.old[n].kind == "buckets" for n in part.doors):
        found = _any_values(pair.reach.inputs[part.input].is_text)
    elif (bounds := _bounds(pair, part)) and not pair.reach.inputs[part.input].is_text:
        found = _ids_of(pair, part, bounds, low, above)
    else:
        return None
    order, others = _spread(len(found.old)), _spread(len(found.fresh))
    old, new, fresh = found.old[order], found.new[order], found.fresh[others]
    pads = _new_pads(pair, part)
    pad = pair.change and pair.change.pad
    alone = fresh[~_among(fresh, np.array([pad, *pads], object))]
    if pads and found.is_asked:  # A row has some real tokens too.
        named = [word for word in pads if word is not None]
        fresh = np.array([*new[:_REAL], *(named or fresh)], new.dtype)
    shown = fresh if found.is_asked else None
    return Pool(old, new, shown, found.beyond, alone, found.is_computed)


class _Found(NamedTuple):
    """The values of a `Pool`, all of them and in their own order.

    `is_asked` says whether those of the new model alone are to be shown.
    """

    old: np.ndarray
    new: np.ndarray
    fresh: np.ndarray
    is_asked: bool
    beyond: tuple[np.ndarray, ...] = ()
    is_computed: bool = False


def _words_of(pair: Pair, part: Part, doors: list[int]) -> _Found:
    asked_of = [n for n in doors if pair.is_changed(n) or pair.new[n].only_words]
    old, new = _words(pair.old, doors), _words(pair.new, asked_of or doors)
    old = old[[not is_spare(word) for word in old]]
    if any(pair.old[n].pairs for n in doors):
        lost = set(old.tolist()).difference(new.tolist())
        old = old[[lost.isdisjoint(_parts(word)) for word in old.tolist()]]
    # What one lookup knows of old is no new word, though another lacks it.
    known = [word for n in asked_of for word in pair.old[n].words]
    is_known = _among(new, old) | _among(new, np.array(known, object))
    fresh = new[~is_known]
    fresh = fresh[[not is_spare(word) for word in fresh]]  # No word reaches such a row.
    is_asked = any(map(pair.is_changed, part.doors)) or bool(_new_pads(pair, part))
    is_asked &= len(fresh) > 0 or not (pair.change and pair.change.spare)
    both = old[_among(old, new)]
    sides = [side[n] for side in (pair.old, pair.new) for n in doors]
    if not any(door.only_words for door in sides):
        both = np.append(both, _unknown([w for door in sides for w in door.words]))
    return _Found(both, both, fresh, is_asked)


def _unknown(known: list[Any]) -> np.ndarray:
    """A word that is none of these, of their kind."""
    if any(not isinstance(word, str) for word in known):
        free = set(range(1, len(known) + 2)).difference(known)
        return np.array([min(free)], object)
    return np.array(["unknown" + "x" * max(map(len, known), default=0)], object)


def _any_values(is_text: bool) -> _Found:
    values = np.array([f"word {n}" if is_text else n for n in range(64)], object)
    return _Found(values, values, values[:0], is_asked=False)


def _ids_of(pair: Pair, part: Part, bounds: list[int], low: int, above: int) -> _Found:
    change = pair.change
    sizes = [[doors[n].size for n in bounds] for doors in (pair.old, pair.new)]
    old, new = (np.arange(low, max(min(n) - above, low + 1)) for n in sizes)
    direct, derived = map(pair.changed_ids, (part.direct, part.derived))
    if change is None or not (direct or derived):
        both = np.intersect1d(old, new)
        return _Found(both, both, np.setdiff1d(new, old), is_asked=False)
    over, under = _beyond(max(map(max, sizes)), pair.reach.inputs[part.input])
    if not direct:
        both, is_computed = np.intersect1d(old, new), not change.row_map.is_append
        # Of -1 an id may be made that a table has.
        beyond = (over, under[:0] if is_computed else under)
        fresh = np.setdiff1d(new, old)
        return _Found(both, both, fresh, not is_computed, beyond, is_computed)
    old = old[np.isin(old, change.row_map.kept[1])]
    both = change.renamed(old)
    if any(pair.old[n].size < change.row_map.old_size for n in bounds):
        is_row = np.isin(both, new)  # It is not known which ids such a table lacks.
        old, both = old[is_row], both[is_row]
    fresh = np.intersect1d(new, change.row_map.new_ids)
    return _Found(old, both, fresh, True, (over, under))


def _parts(text: str) -> Iterator[str]:
    """Each word of a text, and all that stand beside one another."""
    words = text.split(" ")
    for start in range(len(words)):
        for end in range(start + 1, len(words) + 1):
            yield " ".join(words[start:end])


def _new_pads(pair: Pair, part: Part) -> list[Any]:
    """Where an id becomes padding: the word for it in each lookup, or `None`."""
    if pair.change is None or pair.change.pad is None:
        return []
    doors = [n for n in part.doors if pair.old[n].pad_word != pair.new[n].pad_word]
    return [pair.new[n].pad_word for n in doors] or [
        None for _ in pair.changed_ids(part.doors)
    ]


def _words(doors: list[Door], numbers: list[int]) -> np.ndarray:
    """Words on which all of these lookups agree, or else of the first."""
    lists = [doors[n].words for n in numbers]
    common = set(lists[0]).intersection(*lists)
    return np.array([w for w in lists[0] if not common or w in common], object)


def _bounds(pair: Pair, part: Part) -> list[int]:
    """The tables that bound what may enter: ids as they are, or else changed.

    One for which the model brings ids into range itself bounds only its own.
    """
    direct, derived = (
        [n for n in doors if pair.old[n].kind == "ids"]
        for doors in (part.direct, part.derived)
    )
    bound = [n for n in direct if n not in part.ranged or pair.is_changed(n)]
    return bound or direct or derived


def _among(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    known = set(others.tolist())
    return np.array([value in known for value in values.tolist()], bool)


def _beyond(first: int, one: ModelInput) -> tuple[np.ndarray, ...]:
    """Ids from one on, and those below 0, near and far, as an input can hold them."""
    dtype = one.numpy_dtype
    far = np.unique(np.geomspace(1, 1 << 23, 48).astype(np.int64))
    is_whole = np.dtype(dtype).kind in "iu"
    most = np.iinfo(dtype).max if is_whole else 1 << 24
    above, below = first - 1 + far, -far[far <= most]
    has_sign = np.dtype(dtype).kind != "u"
    return above[above <= most], below if has_sign else below[:0]


def _spread(count: int) -> np.ndarray:
    """An order of chance, the last and the first before all others.

    Of more than a few thousand, some are taken evenly.
    """
    order = np.linspace(0, count - 1, min(count, _MOST)).astype(np.int64)
    middle = np.random.default_rng(0).permutation(order[1:-1])
    return np.concatenate([order[[-1, 0][:count]], middle])
