"""Finds numbers in what training alone runs, so that no proof can show them."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from keras_padsafe.saved_model.config_path import (
    ConfigPath,
    config_key,
    walk_values,
)
from keras_padsafe.saved_model.layer_node import LayerNode
from keras_padsafe.surgery.finding.model_file import ModelFile
from keras_padsafe.surgery.finding.vocabulary import Draft, Unexplained, leaving


class TrainingObject(NamedTuple):
    """A loss, metric, constraint or regularizer of a class of the user's own."""

    path: ConfigPath
    class_name: str
    name: str
    config: dict[str, Any]


def training_objects(root: LayerNode) -> Iterator[TrainingObject]:
    """Every one that config.json describes."""
    yield from _within(root.serialized.get("compile_config"), ("compile_config",))
    for layer in root.walk():
        for key, value in layer.config.items():
            if key.endswith(("_constraint", "_regularizer")):
                yield from _within(value, (*layer.path, "config", key))


def find_held_in_training(model: ModelFile, drafts: list[Draft]) -> None:
    """Adds to each vocabulary those that hold a number as large as it is."""
    held: dict[int, list[tuple[TrainingObject, ConfigPath]]] = {}
    for one in training_objects(model.root):
        for key, value in one.config.items():
            if type(value) is int and one.name not in model.claims.leave:
                place = (*one.path, "config", key)
                held.setdefault(value, []).append((one, place))
    for draft in drafts:
        known = {site.path for site in draft.config}
        draft.unexplained += [
            Unexplained(
                one.name,
                f"{one.class_name} {one.name!r} holds "
                f"{config_key(place)}={draft.size}, which may count the ids. Only "
                "training runs it, so a proof could not show it",
                f"{leaving(one.name)} if it does not, or if you replace it before "
                "you train the new model",
            )
            for one, place in held.get(draft.size, ())
            if place not in known
        ]


def _within(value: Any, path: ConfigPath) -> Iterator[TrainingObject]:
    for place, one in walk_values(value, path):
        if not isinstance(one, dict) or str(one.get("module")).startswith("keras"):
            continue
        config, kind = one.get("config"), one.get("class_name")
        if isinstance(config, dict) and isinstance(kind, str):
            name = config.get("name")
            name = name if isinstance(name, str) else kind
            yield TrainingObject(place, kind, name, config)
