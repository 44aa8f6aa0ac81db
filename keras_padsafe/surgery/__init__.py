"""Vocabulary surgery on saved models: archive -> plan -> transfer -> archive."""

from typing import TYPE_CHECKING

from keras_padsafe.room import open_room

if TYPE_CHECKING:
    from keras_padsafe.facts.rules import Rule as Rule
    from keras_padsafe.facts.rules import register_rule as register_rule
    from keras_padsafe.proof.certificate import Certificate as Certificate
    from keras_padsafe.proof.certificate import Check as Check
    from keras_padsafe.saved_model.row_map import RowMap as RowMap
    from keras_padsafe.surgery.apply_plan import apply_plan as apply_plan
    from keras_padsafe.surgery.finding.inventory import Inventory as Inventory
    from keras_padsafe.surgery.finding.vocabulary import Vocabulary as Vocabulary
    from keras_padsafe.surgery.freeze_old_rows import freeze_old_rows as freeze_old_rows
    from keras_padsafe.surgery.grow import grow as grow
    from keras_padsafe.surgery.inspect import inspect as inspect
    from keras_padsafe.surgery.plan import plan as plan
    from keras_padsafe.surgery.planning.new_rows import NewRows as NewRows
    from keras_padsafe.surgery.planning.plan import Plan as Plan
    from keras_padsafe.surgery.refill import refill as refill
    from keras_padsafe.surgery.remap import remap as remap
    from keras_padsafe.surgery.report import Report as Report
    from keras_padsafe.surgery.trim import trim as trim
    from keras_padsafe.surgery.verify import verify as verify

open_room(
    __name__,
    {
        "Rule": "facts.rules",
        "register_rule": "facts.rules",
        "Certificate": "proof.certificate",
        "Check": "proof.certificate",
        "apply_plan": "surgery.apply_plan",
        "Inventory": "surgery.finding.inventory",
        "Vocabulary": "surgery.finding.vocabulary",
        "freeze_old_rows": "surgery.freeze_old_rows",
        "grow": "surgery.grow",
        "inspect": "surgery.inspect",
        "plan": "surgery.plan",
        "NewRows": "surgery.planning.new_rows",
        "Plan": "surgery.planning.plan",
        "RowMap": "saved_model.row_map",
        "refill": "surgery.refill",
        "remap": "surgery.remap",
        "Report": "surgery.report",
        "trim": "surgery.trim",
        "verify": "surgery.verify",
    },
)
