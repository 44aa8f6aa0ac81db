"""Which vocabulary of a model the user means."""

from collections.abc import Iterable

from keras_padsafe.errors import AmbiguousVocabularyError, SurgeryError
from keras_padsafe.surgery.finding.inventory import Inventory
from keras_padsafe.surgery.finding.vocabulary import Vocabulary


def choose_vocabulary(inventory: Inventory, name: str | None) -> Vocabulary:
    """The vocabulary that the user means.

    Raises:
        AmbiguousVocabularyError: if there are several and none is named.
        SurgeryError: if there is none, or none of that name.
    """
    found = inventory.vocabularies
    if not found:
        raise _none_found(inventory)
    main = [v for v in found if v.is_main]
    meant = main or [v for v in found if not v.is_made_inside]
    if name is None and len(meant) == 1 and (main or not inventory.near_tables):
        return meant[0]
    if name is None:
        ids = " The model makes their ids itself, for example positions."
        made = "" if meant else ids
        noun = "vocabulary" if len(found) == 1 else "vocabularies"
        noun += ", and tables that may be of others" if inventory.near_tables else ""
        raise AmbiguousVocabularyError(
            f"{inventory.path}: the model has {len(found)} {noun}. Expected: the "
            "name of the one to change, as `vocabulary=NAME` (`--vocabulary NAME`). "
            f"Found: {_listed(found)}.{made}{_near(inventory)}"
        )
    exact = [v for v in found if v.name == name]
    named = exact or [v for v in found if name in v.layers]
    matches = [v for v in named if not v.is_made_inside] or named
    if len(matches) != 1:
        problem = "several vocabularies go" if matches else "no vocabulary goes"
        raise SurgeryError(
            f"{inventory.path}: {problem} by the name {name!r}. Found: "
            f"{_listed(matches or found)}.{_near(inventory)}"
        )
    return matches[0]


def _listed(vocabularies: Iterable[Vocabulary]) -> str:
    return ", ".join(f"{v.name!r} ({v.size} ids)" for v in vocabularies)


def _near(inventory: Inventory) -> str:
    near = [f"\n  - {item}" for item in inventory.near_tables]
    return f" What comes close:{''.join(near)}" if near else ""


def _none_found(inventory: Inventory) -> SurgeryError:
    where = f"{inventory.path}: no vocabulary was found in {inventory.model}"
    if near := _near(inventory):
        return SurgeryError(f"{where} whose table and size are known.{near}")
    return SurgeryError(
        f"{where}. Expected: an embedding table, or a layer that makes a column of "
        "each id. If an array of a class of your own is a table, or the units of a "
        "head are to grow, as for a new class, say so with `also='LAYER:AXIS'` "
        "(`--also LAYER:AXIS`), or of a table with "
        "`keras_padsafe.surgery.register_rule`."
    )
