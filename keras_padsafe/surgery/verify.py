"""Proves what a surgery did, on the files and on the user's backend."""

import os
from dataclasses import replace

from keras_padsafe.archive import Archive, open_archive
from keras_padsafe.arguments import read_instance, read_path
from keras_padsafe.errors import AmbiguousVocabularyError, SurgeryError
from keras_padsafe.proof.certificate import Certificate, Check
from keras_padsafe.surgery.check_fit import check_fit
from keras_padsafe.surgery.planning.plan import Plan
from keras_padsafe.surgery.prove import prove
from keras_padsafe.surgery.transfer.transfer import PROVENANCE


def verify(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    plan: Plan | None = None,
) -> Certificate:
    """Proves what a surgery did: on the files, and by running both models.

    On the files, without Keras: rows kept are identical bit for bit, new rows are
    finite, every other array is identical, config.json and word lists are as planned.
    With Keras, on the running backend: the new file loads, every array and the
    optimizer as the file has them; old ids keep their outputs; new ids give finite
    outputs, and the share of probability that they take in a head.

    Args:
        source: The file before.
        target: The file after.
        plan: The plan that was applied; read from the target if left out.

    Returns:
        A `Certificate`, with the largest differences found. Its verdict is `"proved"`,
        `"wrong"`, or `"not proved"` if something could not be looked at.

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
    >>> certificate.verdict
    'proved'
    >>> certificate["old ids keep their outputs"].value
    0.0
    """
    source, target = read_path(source, "source"), read_path(target, "target")
    if plan is not None:
        read_instance(plan, "plan", Plan)
    else:
        # A missing source is told before a target without a plan.
        with open_archive(source), open_archive(target) as after:
            plan = _plan_within(after)
    found = prove(plan, source, target)
    return replace(found, checks=(_fits(plan, source), *found.checks))


def _fits(plan: Plan, source: str) -> Check:
    """Whether the plan changes what one made of the file would."""
    name = "plan fits the old file"
    try:
        with open_archive(source) as before:
            check_fit(plan, before)
    except AmbiguousVocabularyError as error:
        return Check(name, "skipped", str(error))
    except SurgeryError as error:
        return Check(name, "failed", str(error), 1.0)
    return Check(name, "passed", "it changes what one made of the file would")


def _plan_within(target: Archive) -> Plan:
    provenance = target.metadata.get(PROVENANCE)
    if not isinstance(provenance, dict) or "plan" not in provenance:
        raise SurgeryError(
            f"{target.path}: the file does not say which plan made it. Expected: a "
            "file written by keras_padsafe and not saved again since. Pass the plan: "
            "`plan=Plan.load('plan.json')` (`--plan plan.json`)."
        )
    return Plan.from_json(provenance["plan"])
