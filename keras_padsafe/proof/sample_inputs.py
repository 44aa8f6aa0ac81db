"""Makes a batch for a saved model: ids where it takes ids, words where words."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_padsafe.facts.operations import LOOKUPS
from keras_padsafe.surgery.finding.id_sources import sources_of_table
from keras_padsafe.surgery.finding.model_file import IdSpace, ModelFile

_BATCH, _TIME = 8, 6
_IDS = re.compile(r"(^|_)(tokens?|words?|inputs?|item|user)?_?ids?$|token|^input")
_NOT_IDS = re.compile(r"segment|type|pos|mask|length|lang")


class NoInputs(Exception):
    """No batch of the kind wanted can be made; the message says why."""


@dataclass(frozen=True)
class IdInputs:
    """Which inputs of a model take ids of the vocabulary, and which words.

    Attributes:
        ids: Names of InputLayers whose values are ids of the vocabulary.
        words: Names of those whose values are its words, as text, and whether each
            value is a whole sentence.
        other_ids: The number of ids of inputs that feed other tables.

    An input of which a part goes to another table is in both `ids` and `other_ids`.
    Under the name `""`, `other_ids` bounds the inputs of a model whose calls
    config.json does not spell out.
    """

    ids: frozenset[str]
    words: dict[str, bool]
    other_ids: dict[str, int]


def find_id_inputs(model: ModelFile, spaces: list[IdSpace], name: str) -> IdInputs:
    """Follows the ids of each table back to the inputs of the model."""
    ids: set[str] = set()
    words: dict[str, bool] = {}
    others: dict[str, int] = {}
    for space in spaces:
        mine = space.draft.name == name
        if not space.calls and not mine:
            size = space.draft.size
            others[""] = min(size, others.get("", size))
        for source, _ in sources_of_table(space.calls):
            if source.class_name not in LOOKUPS:
                if mine:
                    ids.add(source.name)
                else:
                    size = space.draft.size
                    others[source.name] = min(size, others.get(source.name, size))
            elif mine:
                sentences = source.class_name == "TextVectorization"
                for call in model.graph.calls_of(source):
                    words |= {i.layer.name: sentences for i in call.inputs}
    return IdInputs(frozenset(ids), words, others)


@dataclass
class Sampler:
    """Makes one batch after another for the inputs of a model.

    Attributes:
        inputs: What each input takes.
        ids: The ids to choose from.
        words: The words to choose from.
        generator: The source of chance.
        fed: Whether any input took ids or words of the vocabulary so far.
    """

    inputs: IdInputs
    ids: np.ndarray
    words: tuple[Any, ...]
    generator: np.random.Generator
    fed: bool = False

    def sample(self, name: str, shape: tuple[int | None, ...], dtype: str) -> Any:
        """Values for one input of the model."""
        size = tuple(
            dim if dim is not None else (_TIME if axis else _BATCH)
            for axis, dim in enumerate(shape)
        )
        if name in self.inputs.words:
            self.fed = True
            return self._words(size, self.inputs.words[name])
        if name in self.inputs.ids or self._takes_ids(name, dtype):
            self.fed = True
            others = self.inputs.other_ids
            ids = self.ids[self.ids < others.get(name, others.get("", np.inf))]
            if not ids.size:
                raise NoInputs(
                    f"input {name!r} feeds other tables too, which lack these ids"
                )
            return self.generator.choice(ids, size).astype("int32")
        if name in self.inputs.other_ids:
            high = self.inputs.other_ids[name]
            return self.generator.integers(0, high, size).astype("int32")
        if dtype == "bool" or "mask" in name:
            return np.ones(size, "bool" if dtype == "bool" else "int32")
        if dtype.startswith(("int", "uint")):
            return np.zeros(size, dtype)
        return self.generator.normal(size=size).astype("float32")

    def _takes_ids(self, name: str, dtype: str) -> bool:
        """For a model whose calls config.json does not spell out: by name."""
        known = self.inputs.ids or self.inputs.words
        return (
            not known
            and dtype.startswith(("int", "float32"))
            and bool(_IDS.search(name))
            and not _NOT_IDS.search(name)
        )

    def _words(self, size: tuple[int, ...], sentences: bool) -> np.ndarray:
        text = np.empty(size, object)
        for place in np.ndindex(*size):
            chosen = self.generator.choice(len(self.words), 3 if sentences else 1)
            text[place] = " ".join(str(self.words[index]) for index in chosen)
        return text
