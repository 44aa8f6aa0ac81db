"""Swaps the layers of a saved model that let padding through for ours."""

import copy
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keras_padsafe.archive import open_archive, write_archive
from keras_padsafe.arguments import read_flag, read_path
from keras_padsafe.audit.audit_report import AuditReport
from keras_padsafe.audit.mending.plan_repair import Edit, place_of, plan_repair
from keras_padsafe.proof.certificate import Check, Verdict, verdict_of
from keras_padsafe.saved_model.graph import read_graph
from keras_padsafe.saved_model.group_names import renamed_groups
from keras_padsafe.saved_model.layer_tree import read_layer_tree
from keras_padsafe.saved_model.rename_operations import rename_operations
from keras_padsafe.saved_model.swap_class import swap_class


@dataclass(frozen=True)
class Swapped:
    """A layer or operation that a layer of another class took the place of.

    Attributes:
        place: The path of the layer.
        old: Its class before.
        new: Its class now.
    """

    place: str
    old: str
    new: str


@dataclass(frozen=True)
class RepairReport(AuditReport):
    """What a repair did; its findings are what it could not mend.

    Attributes:
        source: The file before.
        target: The file after.
        swapped: What was swapped; empty if there was nothing to mend.
        checks: What both models, run side by side, have shown.
    """

    source: Path
    target: Path
    swapped: tuple[Swapped, ...]
    checks: tuple[Check, ...]

    @property
    def verdict(self) -> Verdict:
        """`"wrong"` if something was not mended or a check failed.

        `"not proved"` if something could not be looked at, or nothing was.
        """
        if self.findings:
            return "wrong"
        unseen = (self.swapped and not self.checks) or self.not_looked_at
        return "not proved" if unseen else verdict_of(self.checks)

    @property
    def passed(self) -> bool:
        """Whether everything was mended and that is proved."""
        return self.verdict == "proved"

    def __getitem__(self, name: str) -> Check:
        return {check.name: check for check in self.checks}[name]

    def __str__(self) -> str:
        lines = [f"{one.place}: {one.old} -> {one.new}" for one in self.swapped]
        lines += [f"{one.status}: {one.name}: {one.detail}" for one in self.checks]
        lines += self._lines
        return "\n".join(lines) or "nothing to repair"

    def to_json(self) -> dict[str, Any]:
        """The report as plain data."""
        return super().to_json() | {"verdict": self.verdict}


def repair(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    prove: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> RepairReport:
    """Swaps the layers of a saved model that let padding through for ours.

    Only what a mask reaches is touched: attention, `GlobalAveragePooling1D`,
    `GlobalMaxPooling1D`, `Conv1D`, `Softmax`, sums that lose a mask (`Add` and
    `x + y`), and products or activations written as operations. Weights, names,
    optimizer and training configuration stay. The file is rewritten without running
    the model; `target` appears whole or not at all. A model without masks has nothing
    to mend: `target` is then a copy.

    Whoever loads `target` must import `keras_padsafe` first.

    Args:
        source: A `.keras` file, or the folder of an unzipped one.
        target: The `.keras` file to write.
        overwrite: Whether `target` may exist. It may never be the source.
        prove: Whether to load both models afterwards and compare their outputs, on
            the running backend.
        progress: Called with the bytes written so far and their total.

    Returns:
        A `RepairReport`: what was swapped, what could not be mended, what was proved.

    Raises:
        ArchiveError: if a file cannot be read or written.
        SurgeryError: if config.json is not as Keras writes it.

    Example:

    >>> ids = keras.Input((4,), dtype="int32")
    >>> x = keras.layers.Embedding(9, 8, mask_zero=True)(ids)
    >>> y = keras.layers.GlobalAveragePooling1D(name="top")(x)
    >>> keras.Model(ids, y).save("model.keras")
    >>> report = keras_padsafe.audit.repair("model.keras", "repaired.keras")
    >>> report.swapped[0].new
    'MaskedGlobalAveragePooling1D'
    >>> report["rows without padding keep their outputs"].status
    'passed'
    """
    source, target = read_path(source, "source"), read_path(target, "target")
    prove = read_flag(prove, "prove")
    with open_archive(source) as archive:
        root = read_layer_tree(archive)
        plan = plan_repair(root, read_graph(root))
        config, rename = None, {}
        if plan.edits:
            config = rewrite_config(archive.config or {}, plan.edits)
            new_classes = {edit.layer: edit.swap.class_name for edit in plan.edits}
            rename = renamed_groups(root, new_classes)
        write_archive(
            target,
            archive,
            config=config,
            rename=rename,
            overwrite=overwrite,
            progress=progress,
        )
    checks = ()
    if prove and plan.edits:
        import keras  # noqa: F401

        from keras_padsafe.audit.mending.prove_repair import prove_repair

        with open_archive(source) as before, open_archive(target) as after:
            checks = tuple(prove_repair(before, after))
    swapped = tuple(
        Swapped(place_of(edit.layer), edit.layer.class_name, edit.swap.class_name)
        for edit in plan.edits
    )
    return RepairReport(
        plan.unmended,
        Path(source),
        Path(target),
        swapped,
        checks,
        not_looked_at=plan.unseen,
    )


def rewrite_config(config: dict[str, Any], edits: tuple[Edit, ...]) -> dict[str, Any]:
    """A copy of config.json in which each edit is made, wherever it is described."""
    new = copy.deepcopy(config)
    for edit in edits:
        for entry in swap_class(new, edit.layer, edit.swap):
            if edit.config is not None:
                entry["config"] = copy.deepcopy(edit.config)
            if edit.arguments is not None:
                (call,) = entry["inbound_nodes"]
                call["args"], call["kwargs"] = copy.deepcopy(edit.arguments), {}
    rename_operations(new)
    return new
