"""Lists every vocabulary of a saved model and what is bound to it."""

import os
from collections.abc import Iterable

from keras_padsafe.archive import open_archive
from keras_padsafe.arguments import read_path
from keras_padsafe.surgery.finding.inventory import Inventory, read_inventory


def inspect(
    path: str | os.PathLike[str],
    *,
    also: Iterable[str] = (),
    leave: Iterable[str] = (),
    ask: bool = False,
) -> Inventory:
    """Lists every vocabulary of a saved model and all that is bound to each.

    Reads config.json and the headers of the weights file; no array is loaded. Keras is
    not imported for a model of known classes; of another, Keras builds it without
    values, to show what follows the vocabulary.

    Args:
        path: A `.keras` file, its unzipped folder or a preset of KerasHub.
        also: Arrays of your own classes that belong to a vocabulary, each as
            `"LAYER:AXIS[:KEY[:IDS]]"`; see `FindingOptions`.
        leave: Layers or arrays that do not, though an axis has the same size.
        ask: `True` asks Keras also where every class of the model is known.

    Returns:
        An `Inventory`; `to_json()` gives it as plain data.

    Raises:
        ArchiveError: if the file is not a Keras 3 model file that can be read safely.
        SurgeryError: if it holds weights only.

    Example:

    >>> import keras, keras_padsafe as kp
    >>> model = keras.Sequential(
    ...     [keras.Input((4,), dtype="int32"), keras.layers.Embedding(50, 8)]
    ... )
    >>> model.save("words.keras")
    >>> vocabulary = kp.surgery.inspect("words.keras").vocabularies[0]
    >>> vocabulary.size
    50
    >>> [site.path for site in vocabulary.arrays]
    ['layers/embedding/vars/0']
    """
    with open_archive(read_path(path, "path")) as archive:
        return read_inventory(archive, also, leave, ask=ask)
