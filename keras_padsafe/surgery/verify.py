"""Proves what a surgery did, on the files and on the user's backend."""

import os
from pathlib import Path

import numpy as np

from keras_padsafe.archive import Archive, open_archive
from keras_padsafe.errors import SurgeryError
from keras_padsafe.proof.certificate import Certificate
from keras_padsafe.proof.compare_files import compare_files
from keras_padsafe.proof.compare_models import Batches, compare_models
from keras_padsafe.proof.sample_inputs import Sampler, find_id_inputs
from keras_padsafe.saved_model.graph import read_graph
from keras_padsafe.saved_model.layer_tree import read_layer_tree
from keras_padsafe.surgery.finding.bind_tables import find_id_spaces
from keras_padsafe.surgery.finding.claims import Claims
from keras_padsafe.surgery.finding.model_file import ModelFile
from keras_padsafe.surgery.planning.plan import Plan
from keras_padsafe.surgery.transfer.transfer import PROVENANCE


def verify(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    plan: Plan | None = None,
) -> Certificate:
    """Proves what a surgery did: on the files, and by running both models.

    On the files, without Keras: rows kept are identical bit for bit, new rows are
    finite, every other array is identical, config.json and word lists are as planned.
    With Keras, on the running backend: the new file loads, its optimizer with it; old
    ids keep their outputs; new ids give finite outputs, and the share of probability
    that they take in a head.

    Args:
        source: The file before.
        target: The file after.
        plan: The plan that was applied; read from the target if left out.

    Returns:
        A `Certificate`, with the largest differences found.

    Raises:
        SurgeryError: if no plan is given and the target holds none.
        ArchiveError: if a file cannot be read.

    Example:

    >>> import keras, keras_padsafe as kp
    >>> model = keras.Sequential(
    ...     [keras.Input((4,), dtype="int32"), keras.layers.Embedding(50, 8)]
    ... )
    >>> model.save("small.keras")
    >>> report = kp.surgery.grow("small.keras", "grown.keras", rows=3)
    >>> certificate = kp.surgery.verify("small.keras", "grown.keras")
    >>> certificate.passed
    True
    >>> certificate["old ids keep their outputs"].value
    0.0
    """
    if plan is not None and not isinstance(plan, Plan):
        raise SurgeryError(
            f"plan: expected a Plan; received {type(plan).__name__}. Read a saved one "
            "with Plan.load."
        )
    with open_archive(source) as before, open_archive(target) as after:
        plan = plan or _plan_within(after)
        checks = compare_files(plan, before, after)
        root = read_layer_tree(before)
        model = ModelFile(before, root, read_graph(root), Claims())
        batches = _batches(plan, model)
    import keras

    checks += compare_models(plan, source, target, root, batches)
    backend = keras.backend.backend()
    return Certificate(Path(source), Path(target), backend, tuple(checks))


def _plan_within(target: Archive) -> Plan:
    provenance = target.metadata.get(PROVENANCE)
    if not isinstance(provenance, dict) or "plan" not in provenance:
        raise SurgeryError(
            f"{target.path}: the file does not say which plan made it. Expected: a "
            "file that keras_padsafe wrote and nothing has saved since. Pass the plan: "
            "`plan=Plan.load('plan.json')` (`--plan plan.json`)."
        )
    return Plan.from_json(provenance["plan"])


def _batches(plan: Plan, model: ModelFile) -> Batches:
    spaces = find_id_spaces(model)
    inputs = find_id_inputs(model, spaces, plan.vocabulary)
    words = [
        word
        for space in spaces
        if space.draft.name == plan.vocabulary
        for site in space.draft.words
        for word in site.words
        if word not in site.specials
    ]
    new, old = plan.row_map.kept
    removed = {word for change in plan.words for word in change.removed}
    kept_words = tuple(word for word in words if word not in removed)

    def sampler(ids: np.ndarray, words: tuple[str | int, ...]) -> Sampler:
        return Sampler(inputs, ids, words, np.random.default_rng(0))

    new_ids = plan.row_map.new_ids
    new_words = tuple(plan.tokens) or kept_words
    return Batches(
        old=sampler(old, kept_words),
        renamed=sampler(new, kept_words),
        new=sampler(new_ids, new_words) if new_ids.size else None,
    )
