"""What each Keras class holds for the ids of a vocabulary.

A class is known by its key: `"keras>Embedding"` for Keras's own classes, the
registered name, as `"my_package>TokenTable"`, for any other.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from keras_padsafe.arguments import read_instance, read_named, read_text
from keras_padsafe.errors import SurgeryError


@dataclass(frozen=True)
class Rule:
    """What a layer class holds for each id it takes in.

    Attributes:
        size_key: The configuration key that holds the number of ids.
        arrays: The axis that runs over the ids, for each array of the layer by its
            path below the layer's group (`"vars/0"` is the first variable of the
            layer itself, `"table/vars/0"` that of its attribute `table`). An array
            that a file lacks is passed over.

    Example:

    >>> import keras_padsafe as kp
    >>> kp.surgery.register_rule(
    ...     "my_package>TokenTable",
    ...     kp.surgery.Rule(size_key="vocab_size", arrays={"vars/0": 0}),
    ... )
    """

    size_key: str
    arrays: Mapping[str, int]

    def __post_init__(self) -> None:
        read_text(self.size_key, "size_key")
        read_named(self.arrays, "arrays", int)


_TABLE = Rule("input_dim", {"vars/0": 0})
_REVERSIBLE = Rule("input_dim", {"vars/0": 0, "vars/1": 1})
_TOKEN_AND_POSITION = Rule(
    "vocabulary_size", {"token_embedding/vars/0": 0, "token_embedding/vars/1": 1}
)

_RULES: dict[str, Rule] = {
    "keras>Embedding": _TABLE,
    "keras>ReversibleEmbedding": _REVERSIBLE,
    "keras_padsafe>ExtendableEmbedding": _TABLE,
    "keras_hub>ReversibleEmbedding": _REVERSIBLE,
    "keras_hub>TokenAndPositionEmbedding": _TOKEN_AND_POSITION,
}


def register_rule(key: str, rule: Rule) -> None:
    """Says what a class of your own holds, for every surgery of this process.

    Args:
        key: The class as config.json names it in `registered_name`, for example
            `"my_package>TokenTable"`.
        rule: What it holds.

    Raises:
        SurgeryError: if `key` is one of Keras's own classes.
    """
    read_text(key, "key")
    read_instance(rule, "rule", Rule)
    if key.startswith("keras>"):
        raise SurgeryError(
            f"register_rule: {key!r} is a class of Keras itself, whose arrays are "
            "known. Expected: the registered name of a class of yours, as "
            "'my_package>TokenTable'."
        )
    _RULES[key] = rule


def rule_of(key: str) -> Rule | None:
    """The rule for a class, if there is one."""
    return _RULES.get(key)
