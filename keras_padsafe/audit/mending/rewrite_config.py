"""Writes swaps into a model's configuration."""

import copy
from typing import Any

from keras_padsafe.audit.mending.plan_repair import Edit
from keras_padsafe.saved_model.config_path import ConfigPath
from keras_padsafe.saved_model.rename_operations import rename_operations


def rewrite_config(config: dict[str, Any], edits: tuple[Edit, ...]) -> dict[str, Any]:
    """A copy of config.json in which each edit is made, wherever it is described."""
    new = copy.deepcopy(config)
    for edit in edits:
        for node in (edit.layer, *edit.layer.copies):
            _swap(_entry(new, node.path), edit)
    rename_operations(new)
    return new


def _entry(config: dict[str, Any], path: ConfigPath) -> dict[str, Any]:
    entry: Any = config
    for key in path:
        entry = entry[key]
    return entry


def _swap(entry: dict[str, Any], edit: Edit) -> None:
    swap = edit.swap
    entry["module"] = swap.module
    entry["class_name"] = swap.class_name
    entry["registered_name"] = swap.registered_name
    if edit.config is not None:
        entry["config"] = copy.deepcopy(edit.config)
    if edit.arguments is not None:
        (call,) = entry["inbound_nodes"]
        call["args"], call["kwargs"] = copy.deepcopy(edit.arguments), {}
