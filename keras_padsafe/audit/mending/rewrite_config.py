"""Writes swaps into a model's configuration."""

import copy
from typing import Any

from keras_padsafe.audit.mending.plan_repair import Edit
from keras_padsafe.saved_model.rename_operations import rename_operations
from keras_padsafe.saved_model.swap_class import swap_class


def rewrite_config(config: dict[str, Any], edits: tuple[Edit, ...]) -> dict[str, Any]:
    """A copy of config.json in which each edit is made, wherever it is described."""
    new = copy.deepcopy(config)
    for edit in edits:
        swap = edit.swap
        names = (swap.module, swap.class_name, swap.registered_name)
        for entry in swap_class(new, edit.layer, *names):
            _rewrite(entry, edit)
    rename_operations(new)
    return new


def _rewrite(entry: dict[str, Any], edit: Edit) -> None:
    if edit.config is not None:
        entry["config"] = copy.deepcopy(edit.config)
    if edit.arguments is not None:
        (call,) = entry["inbound_nodes"]
        call["args"], call["kwargs"] = copy.deepcopy(edit.arguments), {}
