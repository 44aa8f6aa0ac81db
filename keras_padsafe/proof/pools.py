"""Which values each place of an input may take, old and new."""

from dataclasses import dataclass
from typing import Any

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


def old_pool(pair: Pair, part: Part, low: int, above: int) -> np.ndarray | None:
    """What places may take in both models, by their old ids; `None` for plain values.

    Args:
        pair: The models.
        part: The places.
        low: How many of the smallest ids to leave out.
        above: How many of the largest ids to leave out.

    Raises:
        NotShown: if old ids cannot be told from what the model makes of them.
    """
    words = _words(pair, part, lambda o, n: [w for w in o.words if w in set(n.words)])
    if words is not None:
        return words
    sizes = _sizes(pair.old, part)
    if not sizes or _is_hashed(pair, part) or pair.reach.inputs[part.input].is_text:
        return _anything(pair, part)
    last = max(min(sizes) - above, low + 1)
    if pair.changed_ids(part.direct) and pair.change is not None:
        _, kept = pair.change.kept
        return spread(np.unique(kept[(kept >= low) & (kept < last)]))
    if pair.changed_ids(part.derived) and pair.change and not pair.change.is_append:
        name = pair.reach.inputs[part.input].name
        raise NotShown(
            f"the model computes ids from input {name!r}, and the change renames ids. "
            "Compare the outputs on batches of your own."
        )
    return spread(np.arange(low, last))


def new_pool(pair: Pair, part: Part, above: int) -> np.ndarray | None:
    """New ids or words only; `None` for places that take none.

    Raises:
        NotShown: if another door that the same values enter has none of them.
    """
    change = pair.change
    if change is None:
        return None
    both = (*part.direct, *part.derived)
    pool = _words(
        pair, part, lambda o, n: [w for w in n.words if w not in set(o.words)]
    )
    if pool is None or not any(map(pair.is_changed, both)):
        pool = None
        if pair.changed_ids(part.direct):
            pool = spread(change.new_ids[change.new_ids < min(_sizes(pair.new, part))])
        elif pair.changed_ids(part.derived) and not _is_hashed(pair, part):
            first = min(_sizes(pair.old, part)) - above
            pool = np.arange(first, first + change.new_size - change.old_size)
    if pool is not None and not len(pool):
        raise NotShown(
            f"input {pair.reach.inputs[part.input].name!r} feeds other tables or "
            "lookups too, which lack the new ids or words. Compare the outputs of the "
            "new model on batches of your own"
        )
    return pool


def spread(values: np.ndarray) -> np.ndarray:
    """The values in an order of chance, the smallest and the largest first.

    At most a few thousand of them, taken evenly.
    """
    if len(values) > _MOST:
        values = values[np.linspace(0, len(values) - 1, _MOST).astype(np.int64)]
    ends, middle = values[[-1, 0][: len(values)]], values[1:-1]
    return np.concatenate([ends, np.random.default_rng(0).permutation(middle)])


def _words(pair: Pair, part: Part, of_door: Any) -> np.ndarray | None:
    """Words on which all lookups that eat them agree, or else of the first."""
    numbers = [n for n in (*part.direct, *part.derived) if pair.old[n].kind == "words"]
    lists = []
    for number in numbers:
        old, new = pair.old[number], pair.new[number]
        lists.append(of_door(old, new) if pair.is_changed(number) else list(new.words))
    if not lists:
        return None
    common = [
        word for word in lists[0] if all(word in other for other in map(set, lists[1:]))
    ]
    chosen = common or lists[0]
    return spread(np.array(chosen, object)) if chosen else np.array([], object)


def _anything(pair: Pair, part: Part) -> np.ndarray | None:
    """Values for a layer that hashes what it gets; `None` if there is none."""
    if not _is_hashed(pair, part):
        return None
    if pair.reach.inputs[part.input].is_text:
        return np.array([f"word {number}" for number in range(64)], object)
    return np.arange(64)


def _is_hashed(pair: Pair, part: Part) -> bool:
    both = (*part.direct, *part.derived)
    return any(pair.old[number].kind == "buckets" for number in both)


def _sizes(doors: list[Door], part: Part) -> list[int]:
    both = (*part.direct, *part.derived)
    return [doors[n].size for n in both if doors[n].kind == "ids"]
