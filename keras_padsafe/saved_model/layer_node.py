"""One layer as the file knows it: its entry in config.json and its arrays."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from keras_padsafe.archive import StoredArray
from keras_padsafe.facts.layers import SAME_AS
from keras_padsafe.saved_model.config_path import ConfigPath, value_at


@dataclass(eq=False, slots=True)
class LayerNode:
    """A serialized Keras object and what the weights file holds for it.

    Attributes:
        path: Where the object lies in config.json, `()` for the model itself.
        serialized: The object there: `class_name`, `config`, `build_config`, ...
        parent: The object that holds this one; `None` for the model itself.
        attribute: The configuration key under which the parent holds it; `None`
            for an entry of a model's `layers`.
        weights_path: The group of the weights file, as `"layers/embedding"`;
            `None` when no group could be proved to belong to this object.
        arrays: The arrays of that group, by their path relative to it, apart from
            those of `children`.
        original: The first entry that describes the same object, if not this one;
            weights and rules belong to that one.
        copies: On an original, the other entries of config.json that describe it.
        class_name: What `serialized` says, as far as it is well formed.
        config: The same.
        name: The same; the class where it says none.
        module: The same.
        is_stock: Whether the class is one of Keras itself.
        is_operation: Whether this is a call of `keras.ops`, without weights or name.
        is_graph: Whether config.json spells out the layers inside and their calls.
        key: How rules call the class: `"keras>Dense"`, or the registered name.
        kind: The class as `facts/` names it; a user's own may bear a name of Keras's.
    """

    path: ConfigPath
    serialized: dict[str, Any]
    parent: "LayerNode | None" = None
    attribute: str | None = None
    weights_path: str | None = None
    children: list["LayerNode"] = field(default_factory=list)
    arrays: dict[str, StoredArray] = field(default_factory=dict)
    original: "LayerNode | None" = None
    copies: list["LayerNode"] = field(default_factory=list)

    class_name: str = field(init=False)
    config: dict[str, Any] = field(init=False)
    name: str = field(init=False)
    module: str = field(init=False)
    is_stock: bool = field(init=False)
    is_operation: bool = field(init=False)
    is_graph: bool = field(init=False)
    key: str = field(init=False)
    kind: str = field(init=False)

    def __post_init__(self) -> None:
        self.class_name = str(self.serialized.get("class_name", ""))
        config = self.serialized.get("config")
        self.config = config if isinstance(config, dict) else {}
        name = self.config.get("name", self.serialized.get("name"))
        self.name = name if isinstance(name, str) else self.class_name
        module = self.serialized.get("module")
        self.module = module if isinstance(module, str) else ""
        self.is_stock = self.module == "keras" or self.module.startswith("keras.")
        self.is_operation = self.module.startswith(("keras.src.ops", "keras.ops"))
        self.is_graph = isinstance(self.config.get("layers"), list)
        registered = self.serialized.get("registered_name")
        self.key = registered if isinstance(registered, str) else self.class_name
        if self.is_stock:
            self.key = f"keras>{self.class_name}"
        ours = self.key.startswith("keras_padsafe>")
        known = self.is_stock or self.is_operation or ours
        name = SAME_AS.get(self.class_name, self.class_name)
        self.kind = name if known else self.key

    @property
    def title(self) -> str:
        """How a message calls it, as `Dense 'head'`."""
        return f"{self.class_name} {self.name!r}"

    @property
    def names(self) -> list[str]:
        """Its name, and with those of the models around it: `tower/lookup`.

        The whole model has none: its name would name all that it holds.
        """
        around = [node.name for node in self.outwards() if node.parent is not None]
        whole = "/".join(reversed(around))
        return list(dict.fromkeys([self.name, whole])) if around else []

    @property
    def has_weights(self) -> bool:
        """Whether the layer, or one in it, holds an array."""
        return any(node.arrays for node in self.walk())

    @property
    def holds_one(self) -> bool:
        """Whether one array is all that the layer holds."""
        return len(self.arrays) == 1 and not self.children

    @property
    def packages(self) -> set[str]:
        """The packages that the file names for the class, by its key and its module."""
        return {self.key.partition(">")[0], self.module.partition(".")[0]}

    def walk(self) -> Iterator["LayerNode"]:
        """This object and all below it, depth first."""
        pending: list[LayerNode] = [self]
        while pending:
            node = pending.pop()
            yield node
            pending.extend(reversed(node.children))

    def outwards(self) -> Iterator["LayerNode"]:
        """This object and all around it, innermost first."""
        node: LayerNode | None = self
        while node is not None:
            yield node
            node = node.parent

    def entries(self, config: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Each entry of a config.json that describes this object."""
        for node in (self, *self.copies):
            yield value_at(config, node.path)

    def copied(self, place: ConfigPath) -> Iterator[ConfigPath]:
        """A place of this entry in each other description of the same layer."""
        for copy in self.copies:
            yield (*copy.path, *place[len(self.path) :])

    def __repr__(self) -> str:
        return f"LayerNode({self.name!r}, {self.key})"
