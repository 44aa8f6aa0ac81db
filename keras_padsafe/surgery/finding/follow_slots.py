"""Binds the optimizer's variables that follow a vocabulary's numbers."""

from dataclasses import replace
from typing import Any

from keras_padsafe.surgery.finding.asking import Asking
from keras_padsafe.surgery.finding.fixed_rows import fixed_rows
from keras_padsafe.surgery.finding.follow import follower_site
from keras_padsafe.surgery.finding.model_file import ModelFile
from keras_padsafe.surgery.finding.vocabulary import Draft

_OPTIMIZER = "optimizer/"
_DROP = (
    "Start with a fresh optimizer instead: `optimizer='drop'` (`--optimizer drop`); "
    "the weights are kept."
)


def bind_following_slots(model: ModelFile, asking: Asking, draft: Draft) -> None:
    """Adds the variables of the optimizer that were shown to follow the vocabulary."""
    found = asking.vary(draft.numbers) if draft.numbers else "no number is known"
    if isinstance(found, str):
        return
    unlike = [path for path in asking.unlike if path.startswith(_OPTIMIZER)]
    if unlike:
        draft.slot_problem = (
            f"optimizer: Keras builds {unlike[0]} of the file otherwise, so its "
            f"variables cannot be told apart. {_DROP}"
        )
        return
    starts = _starts(asking)
    weights = {
        id(variable): path for path, variable in asking.skeleton.variables.items()
    }
    sites = {site.path: site for site in draft.arrays}
    skipping = fixed_rows(model.root)
    for path, axis in found.axes.items():
        array = model.archive.arrays.get(path)
        if array is None or not path.startswith(_OPTIMIZER):
            continue
        kind, start = starts.get(path, ("unknown", None))
        like = None
        if kind == "weight":
            trained = asking.skeleton.model.trainable_variables[start]
            like = sites.get(weights.get(id(trained), ""))
        if kind == "unknown" or (kind == "weight" and like is None):
            draft.slot_problem = (
                f"optimizer: what new entries of {path} start with is not known. "
                f"{_DROP}"
            )
            return
        site, doubt = follower_site(
            draft, array, axis, "shown: it follows its weight", skipping
        )
        draft.unexplained += doubt
        draft.slots.append(
            replace(
                site,
                role=f"{type(asking.skeleton.objects['optimizer']).__name__} slot",
                fill=like.fill if like else start,
                like=like.path if like else None,
            )
        )


def _starts(asking: Asking) -> dict[str, tuple[str, Any]]:
    from keras_padsafe.skeleton.slot_starts import slot_starts

    trainable = asking.skeleton.model.trainable_variables
    return {
        f"{group}/vars/{index}": start
        for group, part in asking.skeleton.objects.items()
        if group == "optimizer" or group.startswith(_OPTIMIZER)
        if hasattr(part, "inner_optimizer") or hasattr(part, "iterations")
        for index, start in enumerate(slot_starts(part, trainable))
    }
