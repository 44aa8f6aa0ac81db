"""Which entries of an array are those of spare rows."""

from typing import TypedDict

import numpy as np

from keras_padsafe.surgery.planning.changes import ArrayChange
from keras_padsafe.surgery.planning.plan import Plan


class SparePlaces(TypedDict):
    """Places along the axis over the ids, for `Entries`.

    Attributes:
        spare: Which of the new entries, by number.
        left_out: Which of the old ones, which take no part in new ones.
    """

    spare: np.ndarray
    left_out: np.ndarray


def spare_places(change: ArrayChange, weight: ArrayChange, plan: Plan) -> SparePlaces:
    """The places of spare rows in an array, and in the weight that it is made of."""
    new = np.setdiff1d(plan.row_map.new_ids, change.new_skips)
    skips = np.asarray(weight.skips, np.int64)
    old = np.setdiff1d(np.asarray(plan.old_spare_ids, np.int64), skips)
    return {
        "spare": np.flatnonzero(np.isin(new, plan.spare_ids)),
        "left_out": old - np.searchsorted(skips, old),
    }
