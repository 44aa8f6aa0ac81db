"""Keras, asked what follows a number of config.json."""

import importlib
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from keras_padsafe.archive import Archive
from keras_padsafe.facts.packages import IMPORTED_BY_KERAS, IMPORTED_UNASKED
from keras_padsafe.saved_model.config_path import ConfigPath, config_key, value_at
from keras_padsafe.saved_model.layer_node import LayerNode

if TYPE_CHECKING:
    from keras_padsafe.skeleton import Inside, Skeleton, Variation


class CannotAsk(Exception):
    """Keras cannot build the model; the message says why and what to do."""


@dataclass(frozen=True, eq=False)
class Asking:
    """A model that Keras built from its configuration, and what was asked of it.

    Attributes:
        root: The model as the file describes it.
        config: The content of config.json.
        skeleton: What Keras builds of it.
        unlike: Arrays of the file that the skeleton has otherwise or not at all, with
            what it has. Nothing is taken from it of these.
        inside: What ids index, and where they come from.
    """

    root: LayerNode
    config: dict[str, Any]
    skeleton: "Skeleton"
    unlike: dict[str, tuple[int, ...] | None]
    inside: "Inside"
    _known: dict[frozenset[ConfigPath], "Variation"] = field(
        default_factory=dict, repr=False
    )
    _columns: dict[str, str | None] = field(default_factory=dict, repr=False)

    def vary(self, numbers: Iterable[ConfigPath]) -> "Variation":
        """What follows some numbers; nothing, with the problem, if Keras fails."""
        from keras_padsafe.skeleton import NotBuilt, Variation, variation

        places = frozenset(self._with_copies(numbers))
        if places not in self._known:
            try:
                found = variation(self.config, self.skeleton, sorted(places, key=str))
            except NotBuilt as error:
                problem, _, _ = str(error).partition("\n\nArguments received")
                found = Variation(problem=problem)
            self._known[places] = found
        return self._known[places]

    def follows(self, numbers: Sequence[ConfigPath], path: str, axis: int) -> bool:
        """Whether one axis of an array grows as these numbers do."""
        return self.vary(numbers).axes.get(path) == axis

    def lacks(self, path: str) -> bool:
        """Whether Keras makes no place for an array of the file."""
        return self.unlike.get(path, ()) is None

    def column_key(self, layer: LayerNode) -> str | None:
        """The number by which a layer is shown to make a column for each id."""
        from keras_padsafe.skeleton import column_key

        group = layer.weights_path or ""
        if group not in self._columns:
            self._columns[group] = column_key(self.skeleton.objects.get(group))
        return self._columns[group]

    def node(self, group: str) -> LayerNode:
        """A layer that config.json does not spell out, as if it did."""
        from keras_padsafe.skeleton import serialized

        described = serialized(self.skeleton.objects[group])
        return LayerNode((), described, weights_path=group)

    def flag_key(self, place: ConfigPath, layer: LayerNode) -> str:
        """A place as a claim on a layer names it: by its last key where that has it."""
        is_own = place[-2:-1] == ("config",) and isinstance(place[-1], str)
        of_layer = any(node.path == place[:-2] for node in layer.outwards())
        return str(place[-1]) if is_own and of_layer else config_key(place)

    def value(self, place: ConfigPath) -> Any:
        """What config.json holds there."""
        return value_at(self.config, place)

    def _with_copies(self, numbers: Iterable[ConfigPath]) -> Iterable[ConfigPath]:
        """The places, and the same ones where a shared layer is described again."""
        for place in numbers:
            yield place
            for node in self.root.walk():
                if place[: len(node.path)] == node.path:
                    yield from node.copied(place)


def ask_keras(archive: Archive, root: LayerNode) -> Asking:
    """Has Keras build the model of a file, without values.

    Raises:
        CannotAsk: if it cannot.
    """
    packages = set[str]().union(*(node.packages for node in root.walk()))
    for package in sorted(packages.intersection(IMPORTED_UNASKED)):
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise CannotAsk(
                f"the file names classes of {package}, which cannot be imported "
                f"({error}). Install it: pip install {package.replace('_', '-')}"
            ) from None
    named = {n.module.partition(".")[0] for n in root.walk()} & set(IMPORTED_BY_KERAS)
    foreign = sorted(named - sys.modules.keys())
    if foreign:
        raise CannotAsk(
            f"the file names classes of {foreign[0]}, which is imported only if you "
            f"ask for it. Add --import {foreign[0]}, or import it first"
        )
    try:
        from keras_padsafe.skeleton import NotBuilt, build, look_inside
    except ImportError as error:
        raise CannotAsk(
            f"Keras cannot be imported ({error}). Install one of its backends: "
            'pip install "keras-padsafe[jax]"'
        ) from None
    config = archive.config or {}
    try:
        skeleton = build(config)
    except NotBuilt as error:
        raise CannotAsk(_why_not(error, root)) from None
    unlike = _unlike(archive, skeleton)
    if any(path.startswith("optimizer/") for path in unlike):
        with suppress(NotBuilt):
            scaled = _with_loss_scale(config)
            other = build(scaled)
            if len(fewer := _unlike(archive, other)) < len(unlike):
                config, skeleton, unlike = scaled, other, fewer
    return Asking(root, config, skeleton, unlike, look_inside(skeleton))


def _unlike(
    archive: Archive, skeleton: "Skeleton"
) -> dict[str, tuple[int, ...] | None]:
    return {
        path: skeleton.shapes.get(path)
        for path, array in archive.arrays.items()
        if skeleton.shapes.get(path) != array.shape
    }


def _with_loss_scale(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration whose optimizer scales the loss.

    Under the policy mixed_float16 Keras wraps an optimizer so, and does not say it in
    config.json.
    """
    compiled = config.get("compile_config") or {}
    wrapped = {
        "module": "keras.optimizers",
        "class_name": "LossScaleOptimizer",
        "config": {"inner_optimizer": compiled.get("optimizer")},
        "registered_name": None,
    }
    return {**config, "compile_config": {**compiled, "optimizer": wrapped}}


def _why_not(error: Exception, root: LayerNode) -> str:
    from keras_padsafe.skeleton import is_registered

    named = {n.key for n in root.walk() if not n.is_stock and not n.is_operation}
    missing = sorted(key for key in named if not is_registered(key))
    if missing:
        return (
            f"Keras does not know {', '.join(missing)}. Import the module that "
            "registers it first (--import MODULE), which "
            "keras.saving.register_keras_serializable does"
        )
    return f"Keras cannot build the model. Settle first what it says: {error}"
