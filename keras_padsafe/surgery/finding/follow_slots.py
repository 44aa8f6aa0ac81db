"""Binds the optimizer's variables that follow a vocabulary's numbers."""

from dataclasses import replace
from typing import TYPE_CHECKING

from keras_padsafe.surgery.finding.asking import Asking
from keras_padsafe.surgery.finding.fixed_rows import fixed_rows
from keras_padsafe.surgery.finding.follow import follower_site
from keras_padsafe.surgery.finding.model_file import ModelFile
from keras_padsafe.surgery.finding.optimizer_slots import FRESH_OPTIMIZER
from keras_padsafe.surgery.finding.vocabulary import Draft

if TYPE_CHECKING:
    from keras_padsafe.skeleton.slot_starts import SlotStart

_OPTIMIZER = "optimizer/"


def bind_following_slots(model: ModelFile, asking: Asking, draft: Draft) -> None:
    """Adds the variables of the optimizer that were shown to follow the vocabulary."""
    found = asking.vary(draft.numbers)
    unlike = [path for path in asking.unlike if path.startswith(_OPTIMIZER)]
    if found.problem:
        return
    if unlike:
        draft.slot_problem = (
            f"optimizer: Keras builds {unlike[0]} with another shape than the file "
            f"has, so its variables cannot be assigned to weights. {FRESH_OPTIMIZER}"
        )
        return
    from keras_padsafe.skeleton.slot_starts import SlotStart

    sites = {site.path: site for site in draft.arrays}
    trained = _trained(asking)
    starts = _starts(asking, [n for n, path in enumerate(trained) if path in sites])
    fixed = fixed_rows(model.root)
    role = f"{type(asking.skeleton.objects.get('optimizer')).__name__} slot"
    for path in found.changed:
        array = model.archive.arrays.get(path)
        if array is None or not path.startswith(_OPTIMIZER):
            continue
        of, number, copies = starts.get(path, SlotStart())
        weight = None if of is None else trained[of]
        source = None if copies is None else trained[copies]
        like = source if source in sites else None
        fill = number if like is None else sites[like].fill
        if copies is not None and source is None:
            fill = 0.0
        if fill is None:
            draft.slot_problem = (
                f"optimizer: the initial value of new entries of {path} is not "
                f"known. {FRESH_OPTIMIZER}"
            )
            return
        reason = f"slot of {weight}" if weight else "shown: it follows"
        bound, axis = sites.get(weight or ""), found.axes.get(path)
        starts_of, skips = (), fixed.get(weight or "", ())
        if bound is not None and (bound.starts or bound.skips):
            starts_of, skips = bound.starts, bound.skips
            axis = bound.axis if array.shape == bound.shape else axis
        if axis is None:  # A factor of the weight lacks axes, that of the ids too.
            continue
        site, doubts = follower_site(draft, array, axis, reason, skips, starts_of)
        draft.unexplained += doubts
        draft.slots.append(
            replace(site, role=role, fill=fill, like=like, slot_of=weight)
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
