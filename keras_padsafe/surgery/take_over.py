"""A live model takes a change over in place, where no shape of it changes."""

from typing import Any

from keras_padsafe.archive import Archive, decode, open_archive
from keras_padsafe.errors import SurgeryError
from keras_padsafe.facts.operations import LOOKUPS
from keras_padsafe.proof.bits import as_array
from keras_padsafe.saved_model.config_path import value_at
from keras_padsafe.surgery.planning.changes import WordsChange
from keras_padsafe.surgery.planning.plan import Plan

_INSTEAD = "Expected: a saved model. Save it, refill the file, and load that."


def take_over(model: Any, plan: Plan, written: str) -> Any:
    """Gives a model the values and words of a file that was made of it.

    Every variable stays the object that it is, and so does every lookup table, so that
    compiled functions go on.

    Raises:
        SurgeryError: if words lie where they cannot be set; the model is as it was.
    """
    from keras_padsafe.compat import set_words, walk_saved

    if plan.optimizer == "drop":
        raise SurgeryError(
            "optimizer: a live model that is refilled in place keeps its optimizer. "
            "Expected: 'keep'. For a fresh one, compile the model again."
        )
    objects = dict(walk_saved(model))
    with open_archive(written) as archive:
        lookups = [_lookup(change, objects, archive) for change in plan.words]
        stores = {
            group: _values(objects[group], group, plan, archive)
            for group in {c.path.rpartition("/vars/")[0] for c in plan.arrays}
        }
        listed = [_listed(change, archive) for change in plan.words]
    for group, store in stores.items():
        objects[group].load_own_variables(store)
    for lookup, change, config in zip(lookups, plan.words, listed, strict=True):
        set_words(lookup, _new_words(lookup, change, plan), config)
    return model


def _values(saved: Any, group: str, plan: Plan, archive: Archive) -> dict[str, Any]:
    """All that an object saves, with the entries of the file where they change."""
    changed = {change.path for change in plan.arrays}
    store: dict[str, Any] = {}
    saved.save_own_variables(store)
    for key, value in store.items():
        path = f"{group}/vars/{key}" if group else f"vars/{key}"
        if path in changed:
            array = archive.arrays[path]
            store[key] = decode(array.read(), array.dtype)
        else:
            store[key] = as_array(value)
    return store


def _lookup(change: WordsChange, objects: dict[str, Any], archive: Archive) -> Any:
    """The lookup layer whose words a file lists.

    Raises:
        SurgeryError: if it is none of Keras's, or a class of the user's own lists its
            words beside it and would save the old ones again.
    """
    groups = {name.removeprefix("assets/").rpartition("/")[0] for name in change.assets}
    found = [
        one
        for group, one in objects.items()
        if type(one).__name__ in LOOKUPS
        and (group in groups if groups else one.name == change.layer)
    ]
    weighs = [one.get_config().get("output_mode") == "tf_idf" for one in found]
    if weighs != [False] or not (groups or _is_its_own(change, archive)):
        raise SurgeryError(
            f"The words of {change.layer!r} cannot be changed in a live model: they "
            "are not in a single lookup layer of Keras, or there are weights with "
            f"them. {_INSTEAD}"
        )
    return found[0]


def _is_its_own(change: WordsChange, archive: Archive) -> bool:
    holder = value_at(archive.config, (change.config_path or ())[:-2])
    return isinstance(holder, dict) and holder.get("class_name") in LOOKUPS


def _listed(change: WordsChange, archive: Archive) -> list[Any] | None:
    """The words as config.json lists them; `None` if it does not."""
    place = change.config_path
    return value_at(archive.config, place) if place else None


def _new_words(lookup: Any, change: WordsChange, plan: Plan) -> list[Any]:
    words = lookup.get_vocabulary()
    for id_, word in zip(plan.row_map.new_ids.tolist(), change.added, strict=False):
        words[id_ : id_ + 1] = [word]
    return words
