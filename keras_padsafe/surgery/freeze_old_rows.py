"""A model of which only the new rows of a vocabulary train."""

import tempfile
from pathlib import Path
from typing import Any, Unpack

from keras_padsafe.archive import Archive, open_archive, write_archive
from keras_padsafe.arguments import MAX_IDS, read_count, read_flag, read_path
from keras_padsafe.errors import SurgeryError
from keras_padsafe.facts.swaps import EXTENDABLE
from keras_padsafe.saved_model.group_names import renamed_groups
from keras_padsafe.saved_model.layer_tree import read_layer_tree
from keras_padsafe.surgery.finding.inventory import read_inventory
from keras_padsafe.surgery.finding.sites import ArraySite
from keras_padsafe.surgery.finding.vocabulary import Vocabulary
from keras_padsafe.surgery.frozen_tables import (
    end_lora,
    freezable_tables,
    with_frozen_rows,
)
from keras_padsafe.surgery.live_model import is_live_model, save_live
from keras_padsafe.surgery.options import FindingOptions, takes_options
from keras_padsafe.surgery.planning.check_change import check_settled
from keras_padsafe.surgery.planning.choose_vocabulary import choose_vocabulary


@takes_options
def freeze_old_rows(
    source: Any,
    old_size: int,
    *,
    train_rest: bool = False,
    **options: Unpack[FindingOptions],
) -> Any:
    """Makes a model in which only the rows of new ids train; old ones stay bit for bit.

    Tables that config.json describes become `ExtendableEmbedding(frozen_rows=...)`:
    what is frozen costs no gradient, no state of the optimizer and no time. Other
    tables, heads and biases keep their class; their old entries are put back after
    each step. A file saved from the model has the arrays of the source, each whole;
    loaded again, heads and biases train whole until they are frozen again.

    The optimizer starts anew, since it has other variables. LoRA of these layers ends:
    a file holds their weights with it merged.

    Args:
        source: A `.keras` file or its unzipped folder, grown before; or a live model,
            which is left as it is.
        old_size: How many of the first ids are old, as `Plan.old_size` says.
        train_rest: Whether the rest of the model trains too. Its weights are frozen
            if not. A `SpectralNormalization` rewrites what it wraps in each step of
            training all the same, as in Keras.
        **options: `vocabulary`, `also`, `leave` and `ask`; see `FindingOptions`.

    Returns:
        The model, compiled if the source was.

    Raises:
        SurgeryError: if `old_size` leaves no new id, or old entries cannot be kept.
        ArchiveError: if the file cannot be read.

    Example:

    >>> import keras, keras_padsafe as kp
    >>> model = keras.Sequential(
    ...     [keras.Input((4,), dtype="int32"), keras.layers.Embedding(50, 8)]
    ... )
    >>> report = kp.surgery.grow(model, rows=3)
    >>> tuned = kp.surgery.freeze_old_rows(report.model, report.plan.old_size)
    >>> [tuple(weight.shape) for weight in tuned.trainable_weights]
    [(3, 8)]
    """
    old_size = read_count(old_size, "old_size", least=1, most=MAX_IDS)
    train_rest = read_flag(train_rest, "train_rest")
    live = is_live_model(source)
    with tempfile.TemporaryDirectory(prefix="keras_padsafe_") as folder:
        saved = Path(folder, "saved.keras")
        path = save_live(source, saved) if live else read_path(source, "source")
        with open_archive(path) as archive:
            return _frozen(
                archive, Path(folder, "made.keras"), old_size, train_rest, live, options
            )


def _frozen(
    archive: Archive,
    made: Path,
    old_size: int,
    train_rest: bool,
    live: bool,
    options: FindingOptions,
) -> Any:
    choice: dict[str, Any] = {**options}
    name = choice.pop("vocabulary", None)
    inventory = read_inventory(archive, **choice)
    vocabulary = choose_vocabulary(inventory, name)
    check_settled(inventory, vocabulary)
    _check(vocabulary, old_size)
    root = read_layer_tree(archive)
    sites = {site.path: site.axis for site in vocabulary.arrays}
    tables = freezable_tables(root, [path for path, axis in sites.items() if not axis])
    new_classes = dict.fromkeys(tables.values(), EXTENDABLE.class_name)
    renames = renamed_groups(root, new_classes)
    config = with_frozen_rows(archive.config or {}, tables.values(), old_size)
    end_lora(config, root, sites)
    compiled = config.pop("compile_config", None)
    write_archive(
        made,
        archive,
        config=config,
        drop=["optimizer"] if "optimizer" in archive.groups else [],
        rename=renames,
    )
    import keras

    from keras_padsafe.surgery.held_entries import (
        check_no_average,
        freeze_others,
        hold_old_entries,
    )

    # A live model is the caller's own: what it runs on loading it ran before.
    model = keras.models.load_model(made, safe_mode=not live)

    def moving(site: ArraySite) -> list[tuple[int, int]]:
        return _moving(site, vocabulary, old_size, train_rest)

    training = hold_old_entries(model, vocabulary.arrays, moving, tables, renames)
    if not train_rest:
        freeze_others(model, training)
    if compiled:
        model.compile_from_config(compiled)
        if len(tables) < len(vocabulary.arrays):
            check_no_average(model.optimizer)
    return model


def _moving(
    site: ArraySite, vocabulary: Vocabulary, old_size: int, train_rest: bool
) -> list[tuple[int, int]]:
    """The stretches of an array that train: new ids, and the rest if it is to."""
    starts = site.starts or (0,)
    entries = vocabulary.size - len(site.skips) if site.starts else site.size
    new = vocabulary.size - old_size
    ends = [start + entries for start in starts]
    stops = [*starts[1:], site.size] if train_rest else ends
    before = [(0, starts[0])] if train_rest and starts[0] else []
    return [*before, *((end - new, s) for end, s in zip(ends, stops, strict=True))]


def _check(vocabulary: Vocabulary, old_size: int) -> None:
    if old_size >= vocabulary.size:
        raise SurgeryError(
            f"old_size: vocabulary {vocabulary.name!r} has {vocabulary.size} ids, so "
            f"none would be new. Received: {old_size}. Expected: the number of ids "
            "before it grew."
        )
    for site in vocabulary.arrays:
        if "int" in site.dtype:
            raise SurgeryError(
                f"array {site.path} is quantized ({site.dtype}), and quantized rows do "
                "not train. Freeze and train before you quantize."
            )
