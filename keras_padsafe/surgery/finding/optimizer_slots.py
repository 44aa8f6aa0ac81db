"""Finds the optimizer's slots of the arrays that are bound to a vocabulary."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from keras_padsafe.archive import Archive, StoredArray
from keras_padsafe.errors import AmbiguousVocabularyError, SurgeryError
from keras_padsafe.facts.layers import UNTRAINED_AT_END
from keras_padsafe.facts.operations import LOOKUPS
from keras_padsafe.facts.optimizer_layout import SlotFill, layout_of
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.surgery.finding.fixed_rows import fixed_rows
from keras_padsafe.surgery.finding.sites import ArraySite

_INTEGER = re.compile("[0-9]{1,9}")


class SlotError(AmbiguousVocabularyError):
    """The optimizer's variables cannot be told apart; dropping them settles it."""


@dataclass(frozen=True)
class SlotGroup:
    """One saved list of the variables of an optimizer.

    Attributes:
        name: The class of the optimizer.
        variables: All of them.
        slots: For each weight that trains, the numbers of its slots.
        fixed: For each table with rows that never train, the rows.
        aligned: Which of those weights an array is; `None` where layers and slots do
            not go along.
        trained: The arrays that train.
    """

    name: str
    variables: list[StoredArray]
    slots: list[list[tuple[int, SlotFill]]]
    fixed: dict[str, tuple[int, ...]]
    aligned: dict[str, int] | None
    trained: set[str]


def read_slots(root: LayerNode, archive: Archive) -> list[SlotGroup]:
    """The lists of slots that a file holds.

    Raises:
        SlotError: if it cannot be told for certain what they hold.
    """
    groups: list[SlotGroup] = []
    for group, optimizer, skipped in _optimizers(root, archive):
        variables = _variables(archive, group)[skipped:]
        slots = _slots(optimizer, variables, group, archive)
        if slots:
            fixed = fixed_rows(root)
            shapes = [variables[pairs[0][0]].shape for pairs in slots]
            _check_shapes(slots, variables, shapes, group)
            name = optimizer.get("class_name", "optimizer")
            aligned = _align(root, shapes, fixed)
            trained = {a.path for n in _leaves(root) for a in _trainable(n).values()}
            groups.append(SlotGroup(name, variables, slots, fixed, aligned, trained))
    return groups


def slots_of(sites: list[ArraySite], groups: list[SlotGroup]) -> list[ArraySite]:
    """The optimizer variables that must change together with `sites`.

    Raises:
        SlotError: if that cannot be told for certain.
    """
    found: list[ArraySite] = []
    for group in groups:
        _check_trained(sites, group.fixed)
        for site, position in _positions(sites, group).items():
            skips = group.fixed.get(site.path, site.skips)
            for index, fill in group.slots[position]:
                slot = _slot_site(site, group.variables[index], fill, group.name)
                found.append(replace(slot, skips=skips))
    return found


def _check_trained(sites: list[ArraySite], fixed: dict[str, tuple[int, ...]]) -> None:
    for site in sites:
        if len(fixed.get(site.path, ())) == site.size:
            raise _refusal(
                f"optimizer: every row of {site.path} is frozen, so it has no slots, "
                "and new rows, which train, would need some"
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
    optimizer: dict[str, Any],
    variables: list[StoredArray],
    group: str,
    archive: Archive,
) -> list[list[tuple[int, SlotFill]]]:
    if all(array.shape == () for array in variables):
        return []
    class_name = optimizer.get("class_name", "")
    layout = layout_of(class_name, optimizer.get("config") or {})
    slots = layout.slots(len(variables)) if layout else None
    if slots is None:
        kind = f"class {class_name!r}" if class_name else "no class in config.json"
        raise _refusal(
            f"{group}: {len(variables)} variables of an optimizer with {kind}, whose "
            "order is not known"
        )
    return slots


def _check_shapes(
    slots: list[list[tuple[int, SlotFill]]],
    variables: list[StoredArray],
    shapes: list[tuple[int, ...]],
    group: str,
) -> None:
    for pairs, shape in zip(slots, shapes, strict=True):
        if any(variables[index].shape != shape for index, _ in pairs):
            raise _refusal(f"{group}: the slots of one variable differ in shape")


def _positions(sites: list[ArraySite], group: SlotGroup) -> dict[ArraySite, int]:
    """Which trainable variable each site is, counted as the optimizer counts."""
    aligned = group.aligned
    if aligned is None:
        raise _refusal(
            "optimizer: its slots do not go along with the layers in the order in "
            "which config.json lists them"
        )
    paths = [site.path for site in sites if site.path in group.trained]
    lost = [path for path in paths if path not in aligned]
    if lost:
        raise _refusal(f"optimizer: which slots are those of {lost[0]} is not known")
    return {site: aligned[site.path] for site in sites if site.path in aligned}


def _slot_shape(
    array: StoredArray | ArraySite, fixed: dict[str, tuple[int, ...]]
) -> tuple[int, ...]:
    """The shape of an array's slots, which rows that never train are not part of."""
    rows = fixed.get(array.path)
    return (array.shape[0] - len(rows), *array.shape[1:]) if rows else array.shape


def _align(
    root: LayerNode,
    shapes: list[tuple[int, ...]],
    fixed: dict[str, tuple[int, ...]],
) -> dict[str, int] | None:
    """Walks layers and slots side by side; `None` where they do not agree."""
    positions: dict[str, int] = {}
    start = 0
    for layer in _leaves(root):
        arrays = {
            relative: array
            for relative, array in _trainable(layer).items()
            if len(fixed.get(array.path, ())) < (array.shape or (1,))[0]
        }
        here = shapes[start : start + len(arrays)]
        expected = [_slot_shape(array, fixed) for array in arrays.values()]
        if Counter(here) != Counter(expected):
            return None
        own = all(relative.startswith("vars/") for relative in arrays)
        for number, array in enumerate(arrays.values()):
            if own:
                positions[array.path] = start + number
            elif here.count(expected[number]) == 1:
                positions[array.path] = start + here.index(expected[number])
        start += len(arrays)
    return positions if start == len(shapes) else None


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


def _slot_site(
    site: ArraySite, variable: StoredArray, fill: SlotFill, optimizer: str
) -> ArraySite:
    return replace(
        site,
        path=variable.path,
        shape=variable.shape,
        dtype=variable.dtype,
        role=f"{optimizer} slot",
        fill=site.fill if fill == "weight" else fill,
        like=site.path if fill == "weight" else None,
        slot_of=site.path,
        reason=f"slot of {site.path}",
    )


def _refusal(what: str) -> SlotError:
    return SlotError(
        f"{what}. Expected: slots that can be told apart, so that each grows with its "
        "weight. Start with a fresh optimizer instead: `optimizer='drop'` "
        "(`--optimizer drop`); the weights are kept."
    )
