"""Binds the optimizer's variables that follow a vocabulary's numbers."""

from dataclasses import replace
from typing import TYPE_CHECKING

from keras_padsafe.surgery.finding.asking import Asking
from keras_padsafe.surgery.finding.fixed_rows import fixed_rows
from keras_padsafe.surgery.finding.follow import follower_site
from keras_padsafe.surgery.finding.model_file import ModelFile
from keras_padsafe.surgery.finding.vocabulary import Draft

if TYPE_CHECKING:
    from keras_padsafe.skeleton.slot_starts import SlotStart

_OPTIMIZER = "optimizer/"
_DROP = (
    "Start with a fresh optimizer instead: `optimizer='drop'` (`--optimizer drop`); "
    "the weights are kept."
)


def bind_following_slots(model: ModelFile, asking: Asking, draft: Draft) -> None:
    """Adds the variables of the optimizer that were shown to follow the vocabulary."""
    if not draft.numbers or (found := asking.vary(draft.numbers)).problem:
        return
    from keras_padsafe.skeleton.slot_starts import SlotStart

    unlike = [path for path in asking.unlike if path.startswith(_OPTIMIZER)]
    if unlike:
        draft.slot_problem = (
            f"optimizer: Keras builds {unlike[0]} with another shape than the file "
            f"has, so its variables cannot be assigned to weights. {_DROP}"
        )
        return
    sites = {site.path: site for site in draft.arrays}
    trained = _trained(asking)
    starts = _starts(asking, [n for n, path in enumerate(trained) if path in sites])
    fixed = fixed_rows(model.root)
    for path in (*found.axes, *found.odd):
        array = model.archive.arrays.get(path)
        if array is None or not path.startswith(_OPTIMIZER):
            continue
        start = starts.get(path, SlotStart())
        weight = None if start.of is None else trained[start.of]
        bound = sites.get(weight or "")
        copied = (
            None if start.copies is None else sites.get(trained[start.copies] or "")
        )
        fill = copied.fill if copied else start.number
        if start.copies is not None and trained[start.copies] is None:
            fill = 0.0
        if fill is None:
            draft.slot_problem = (
                f"optimizer: the initial value of new entries of {path} is not "
                f"known. {_DROP}"
            )
            return
        reason = f"slot of {weight}" if weight else "shown: it follows"
        if bound is not None and bound.starts:
            # A factor of the weight lacks axes; some lack that of the ids.
            same = array.shape == bound.shape
            axis = bound.axis if same else found.axes.get(path)
            if axis is None:
                continue
            site = replace(
                bound,
                path=path,
                shape=array.shape,
                dtype=array.dtype,
                axis=axis,
                reason=reason,
            )
        elif path in found.axes:
            skips = fixed.get(weight or "", ())
            axis = found.axes[path]
            site, doubt = follower_site(draft, array, axis, reason, skips)
            draft.unexplained += doubt
        else:
            continue
        draft.slots.append(
            replace(
                site,
                role=f"{type(asking.skeleton.objects['optimizer']).__name__} slot",
                fill=fill,
                like=copied.path if copied else None,
                slot_of=weight,
            )
        )


def _trained(asking: Asking) -> list[str | None]:
    """The path of each trainable variable of the model, in the optimizer's order.

    A part of an array, as the rows of a table that train, goes by the array's path.
    `None` is a part of LoRA: a file holds it merged, and Keras starts it with zeros.
    Of what else has no array of its own, nothing is known: `""`.
    """
    paths: dict[int, str | None] = {
        id(variable): path for path, variable in asking.skeleton.variables.items()
    }
    for group, part in asking.skeleton.objects.items():
        if _is_optimizer(group):
            continue
        own = getattr(part, "_trainable_variables", ())
        parts = [id(variable) for variable in own if id(variable) not in paths]
        if getattr(part, "lora_enabled", False):
            paths |= dict.fromkeys(parts)
        elif len(parts) == 1:
            paths[parts[0]] = f"{group}/vars/0".lstrip("/")
    return [paths.get(id(v), "") for v in asking.skeleton.model.trainable_variables]


def _is_optimizer(group: str) -> bool:
    return group == "optimizer" or group.startswith(_OPTIMIZER)


def _starts(asking: Asking, asked: list[int]) -> dict[str, "SlotStart"]:
    from keras_padsafe.skeleton.slot_starts import slot_starts

    trainable = asking.skeleton.model.trainable_variables
    return {
        f"{group}/vars/{index}": start
        for group, part in asking.skeleton.objects.items()
        if _is_optimizer(group)
        if hasattr(part, "inner_optimizer") or hasattr(part, "iterations")
        for index, start in enumerate(slot_starts(part, trainable, asked))
    }
