"""Which values each place of an input may take, old and new."""

from dataclasses import dataclass

import numpy as np

from keras_padsafe.proof.doors import Door
from keras_padsafe.proof.find_reach import Part, Reach
from keras_padsafe.proof.id_change import IdChange

_MOST = 4096


class NotShown(Exception):
    """Something cannot be looked at; the message says why and what to do."""


@dataclass(frozen=True)
class Pair:
    """The doors of a model and of its changed file, one for one, and what reaches them.

    Attributes:
        reach: Which inputs reach which doors.
        old: The doors before.
        new: The doors after, in the same order.
        change: How the ids change; `None` if they do not.
    """

    reach: Reach
    old: list[Door]
    new: list[Door]
    change: IdChange | None

    def is_changed(self, number: int) -> bool:
        """Whether a door takes ids or words of the vocabulary that changes."""
        if self.change is None:
            return False
        old, new = self.old[number], self.new[number]
        return old.is_of(self.change.arrays) or old.words != new.words

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
        beyond: Ids that neither model has; `None` if they cannot be asked for.
    """

    old: np.ndarray
    new: np.ndarray
    fresh: np.ndarray | None
    beyond: np.ndarray | None


def pool_of(pair: Pair, part: Part, low: int, above: int) -> Pool | None:
    """What places may take; `None` if they take plain values.

    Args:
        pair: The models.
        part: The places.
        low: How many of the smallest ids to leave out.
        above: How many of the largest ids to leave out.

    Raises:
        NotShown: if old ids cannot be told from what the model makes of them.
    """
    change, reach = pair.change, pair.reach.inputs[part.input]
    known = [_words(doors, part) for doors in (pair.old, pair.new)]
    direct = derived = False
    if None not in known:
        old, new = (np.array(words, object) for words in known)
    elif any(pair.old[n].kind == "buckets" for n in part.doors):
        numbers = range(64)
        old = [f"word {n}" for n in numbers] if reach.is_text else list(numbers)
        old = new = np.array(old, object if reach.is_text else int)
    elif (sizes := _sizes(pair.old, part)) and not reach.is_text:
        lasts = (sizes, _sizes(pair.new, part))
        old, new = (np.arange(low, max(min(n) - above, low + 1)) for n in lasts)
        direct = bool(pair.changed_ids(part.direct))
        derived = bool(pair.changed_ids(part.derived))
    else:
        return None
    if change is not None and direct:
        old = old[np.isin(old, change.kept[1])]
        both, fresh = change.renamed(old), np.intersect1d(new, change.new_ids)
    elif change is not None and derived and not change.is_append:
        raise NotShown(
            f"the model computes ids from input {reach.name!r}, and the change renames "
            "ids. Compare the outputs on batches of your own."
        )
    else:
        fresh = new[~_among(new, old)]
        both = old = old[_among(old, new)]
    takes_new = direct or derived or (None not in known and _any_changed(pair, part))
    order = _spread(len(old))
    return Pool(
        old[order],
        both[order],
        fresh[_spread(len(fresh))] if takes_new else None,
        _beyond(pair, part) if direct or derived else None,
    )


def _any_changed(pair: Pair, part: Part) -> bool:
    return any(map(pair.is_changed, part.doors))


def _words(doors: list[Door], part: Part) -> list[object] | None:
    """Words on which all lookups that eat them agree, or else of the first."""
    lists = [doors[n].words for n in part.doors if doors[n].kind == "words"]
    if not lists:
        return None
    common = set(lists[0]).intersection(*lists)
    return [word for word in lists[0] if not common or word in common]


def _sizes(doors: list[Door], part: Part) -> list[int]:
    return [doors[n].size for n in part.doors if doors[n].kind == "ids"]


def _among(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    known = set(others.tolist())
    return np.array([value in known for value in values.tolist()], bool)


def _beyond(pair: Pair, part: Part) -> np.ndarray:
    """Ids that no table has, near and far, as far as the input can hold them."""
    first = max(*_sizes(pair.old, part), *_sizes(pair.new, part))
    ids = first + np.unique(np.geomspace(1, 1 << 23, 48).astype(np.int64)) - 1
    dtype = np.dtype(pair.reach.inputs[part.input].numpy_dtype)
    return ids[ids <= (np.iinfo(dtype).max if dtype.kind in "iu" else 1 << 24)]


def _spread(count: int) -> np.ndarray:
    """An order of chance, the last and the first before all others.

    Of more than a few thousand, some are taken evenly.
    """
    order = np.linspace(0, count - 1, min(count, _MOST)).astype(np.int64)
    middle = np.random.default_rng(0).permutation(order[1:-1])
    return np.concatenate([order[[-1, 0][:count]], middle])
