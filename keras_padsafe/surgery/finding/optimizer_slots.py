"""Finds the optimizer's slots of the arrays that are bound to a vocabulary."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from keras_padsafe.archive import Archive, StoredArray
from keras_padsafe.errors import SurgeryError
from keras_padsafe.facts.layers import UNTRAINED_AT_END
from keras_padsafe.facts.operations import LOOKUPS
from keras_padsafe.facts.optimizer_layout import SlotFill, slots_of
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.surgery.finding.fixed_rows import fixed_rows
from keras_padsafe.surgery.finding.model_file import ModelFile
from keras_padsafe.surgery.finding.sites import ArraySite
from keras_padsafe.surgery.finding.vocabulary import Draft

_INTEGER = re.compile("[0-9]{1,9}")


FRESH_OPTIMIZER = (
    "Start with a fresh optimizer instead: `optimizer='drop'` (`--optimizer drop`); "
    "the weights are kept."
)
"""What settles it where the variables of an optimizer cannot be told apart."""


class _SlotError(Exception):
    """The optimizer's variables cannot be told apart."""


class _Slot(NamedTuple):
    variable: StoredArray
    fill: SlotFill


_Slots = dict[str, list[_Slot] | None]
_Fixed = dict[str, tuple[int, ...]]


def bind_slots(model: ModelFile, drafts: list[Draft]) -> None:
    """Adds the variables of the optimizer that must change together with the arrays.

    Where it cannot be told for certain what they hold, `slot_problem` says so.
    """
    fixed = fixed_rows(model.root)
    groups: list[tuple[str, _Slots]] = []
    problem = None
    try:
        groups = list(_slots_by_weight(model, fixed))
    except _SlotError as error:
        problem = str(error)
    for draft in drafts:
        draft.slot_problem = problem
        try:
            for name, slots in groups:
                for site in draft.arrays:
                    draft.slots += _slot_sites(site, name, slots, fixed)
        except _SlotError as error:
            draft.slots, draft.slot_problem = [], str(error)


def _slots_by_weight(model: ModelFile, fixed: _Fixed) -> Iterator[tuple[str, _Slots]]:
    """For each saved list of variables the class of the optimizer, and the slots.

    They stand by the weight that trains; `None` where others of its layer have the
    same shape, in an order that is not known.
    """
    for group, optimizer, skipped in _optimizers(model.root, model.archive):
        variables = _variables(model.archive, group)[skipped:]
        numbers = _slots(optimizer, variables, group)
        if numbers:
            slots = [
                [_Slot(variables[n], fill) for n, fill in pairs] for pairs in numbers
            ]
            shapes = [own[0].variable.shape for own in slots]
            positions = _positions(model.root, shapes, fixed)
            yield (
                optimizer.get("class_name", "optimizer"),
                {p: None if n is None else slots[n] for p, n in positions.items()},
            )


def _slot_sites(
    site: ArraySite, name: str, slots: _Slots, fixed: _Fixed
) -> Iterator[ArraySite]:
    if len(fixed.get(site.path, ())) == site.size:
        raise _refusal(
            f"optimizer: every row of {site.path} is frozen and has no slots, but "
            "new rows train and would need some"
        )
    own = slots.get(site.path, [])
    if own is None:
        raise _refusal(f"optimizer: it is not known which slots belong to {site.path}")
    for variable, fill in own:
        yield replace(
            site,
            path=variable.path,
            shape=variable.shape,
            dtype=variable.dtype,
            role=f"{name} slot",
            fill=site.fill if fill == "weight" else fill,
            like=site.path if fill == "weight" else None,
            slot_of=site.path,
            reason=f"slot of {site.path}",
            skips=fixed.get(site.path, site.skips),
        )


def _optimizers(
    root: LayerNode, archive: Archive
) -> Iterator[tuple[str, dict[str, Any], int]]:
    """Each saved list of optimizer variables: group, optimizer, scalars to skip."""
    if not _variables(archive, "optimizer"):
        return
    compiled = root.serialized.get("compile_config") or {}
    optimizer = compiled.get("optimizer")
    optimizer = optimizer if isinstance(optimizer, dict) else {}
    inner = (optimizer.get("config") or {}).get("inner_optimizer")
    nested = _variables(archive, "optimizer/inner_optimizer")
    if not nested:
        yield "optimizer", optimizer, 0
        return
    # Keras stores the variables of the wrapped optimizer twice.
    wrapped = inner if isinstance(inner, dict) else optimizer
    outer = len(_variables(archive, "optimizer"))
    yield "optimizer", wrapped, max(outer - len(nested), 0)
    yield "optimizer/inner_optimizer", wrapped, 0


def _variables(archive: Archive, group: str) -> list[StoredArray]:
    prefix = f"{group}/vars/"
    own = {
        array.path.removeprefix(prefix): array
        for array in archive.arrays.values()
        if array.path.startswith(prefix)
    }
    odd = next((name for name in own if not _INTEGER.fullmatch(name)), None)
    if odd is not None:
        raise SurgeryError(
            f"{archive.path}: the weights file has {prefix}{odd}. Expected: a number, "
            "as Keras names the variables of an optimizer. The file was altered or "
            "damaged: load the model with Keras and save it again."
        )
    return [own[name] for name in sorted(own, key=int)]


def _slots(
    optimizer: dict[str, Any], variables: list[StoredArray], group: str
) -> list[list[tuple[int, SlotFill]]]:
    if all(array.shape == () for array in variables):
        return []
    class_name = optimizer.get("class_name", "")
    slots = slots_of(class_name, optimizer.get("config") or {}, len(variables))
    if slots is None:
        kind = f"class {class_name!r}" if class_name else "no class in config.json"
        raise _refusal(
            f"{group}: {len(variables)} variables of an optimizer with {kind}, whose "
            "order is not known"
        )
    if any(len({variables[index].shape for index, _ in pairs}) > 1 for pairs in slots):
        raise _refusal(f"{group}: the slots of one variable differ in shape")
    return slots


def _positions(
    root: LayerNode, shapes: list[tuple[int, ...]], fixed: _Fixed
) -> dict[str, int | None]:
    """Which trainable variable each array is: layers and slots walked side by side."""
    positions: dict[str, int | None] = {}
    start, agrees = 0, True
    for layer in _leaves(root):
        expected: dict[str, tuple[int, ...]] = {}
        for array in (arrays := _trainable(layer)).values():
            # Rows that never train are no part of a slot.
            rows, shape = len(fixed.get(array.path, ())), array.shape
            if not rows or rows < shape[0]:
                expected[array.path] = (shape[0] - rows, *shape[1:]) if rows else shape
        here = shapes[start : start + len(expected)]
        agrees &= Counter(here) == Counter(expected.values())
        is_ordered = all(relative.startswith("vars/") for relative in arrays)
        for number, (path, shape) in enumerate(expected.items()):
            alone = here.index(shape) if here.count(shape) == 1 else None
            found = number if is_ordered else alone
            positions[path] = None if found is None else start + found
        start += len(expected)
    if not agrees or start != len(shapes):
        raise _refusal(
            "optimizer: its slots are not in the order of the layers in config.json"
        )
    return positions


def _leaves(node: LayerNode) -> Iterator[LayerNode]:
    """The layers of a model in the order in which Keras lists their variables."""
    if node.original is not None:
        return
    if node.is_graph:
        for child in node.children:
            yield from _leaves(child)
    else:
        yield node


def _trainable(layer: LayerNode) -> dict[str, StoredArray]:
    if layer.config.get("trainable") is False or layer.kind in LOOKUPS:
        return {}
    arrays: dict[str, StoredArray] = {}
    base = f"{layer.weights_path}/" if layer.weights_path else ""
    for node in layer.walk():
        own = sorted(node.arrays.items(), key=lambda item: _variable_order(item[0]))
        untrained = UNTRAINED_AT_END.get(node.kind, 0)
        for _, array in own[: len(own) - untrained]:
            arrays[array.path.removeprefix(base)] = array
    return arrays


def _variable_order(relative: str) -> tuple[str, int]:
    group, _, index = relative.rpartition("/")
    return group, int(index) if _INTEGER.fullmatch(index) else -1


def _refusal(what: str) -> _SlotError:
    return _SlotError(
        f"{what}. Expected: slots that can be assigned to weights, so that each "
        f"grows with its weight. {FRESH_OPTIMIZER}"
    )
