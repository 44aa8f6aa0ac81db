"""Audits: where a NaN is born, where a mask is lost, whether padding changes answers.

Importing this room imports no Keras: what runs a model is imported when it is called.
"""

from typing import TYPE_CHECKING

from keras_padsafe.room import open_room

if TYPE_CHECKING:
    from keras_padsafe.audit.assert_mask_reaches import (
        assert_mask_reaches as assert_mask_reaches,
    )
    from keras_padsafe.audit.audit_report import AuditReport as AuditReport
    from keras_padsafe.audit.check_config import check_config as check_config
    from keras_padsafe.audit.check_ids import check_ids as check_ids
    from keras_padsafe.audit.check_padding import check_padding as check_padding
    from keras_padsafe.audit.check_weights import check_weights as check_weights
    from keras_padsafe.audit.codes import CODES as CODES
    from keras_padsafe.audit.find_nonfinite import find_nonfinite as find_nonfinite
    from keras_padsafe.audit.finding import Finding as Finding
    from keras_padsafe.audit.padding_report import PaddingReport as PaddingReport
    from keras_padsafe.audit.repair import RepairReport as RepairReport
    from keras_padsafe.audit.repair import repair as repair
    from keras_padsafe.audit.trace_masks import MaskRow as MaskRow
    from keras_padsafe.audit.trace_masks import MaskTrace as MaskTrace
    from keras_padsafe.audit.trace_masks import trace_masks as trace_masks

open_room(
    __name__,
    {
        "assert_mask_reaches": "audit.assert_mask_reaches",
        "AuditReport": "audit.audit_report",
        "check_config": "audit.check_config",
        "check_ids": "audit.check_ids",
        "check_padding": "audit.check_padding",
        "check_weights": "audit.check_weights",
        "CODES": "audit.codes",
        "find_nonfinite": "audit.find_nonfinite",
        "Finding": "audit.finding",
        "PaddingReport": "audit.padding_report",
        "repair": "audit.repair",
        "RepairReport": "audit.repair",
        "MaskRow": "audit.trace_masks",
        "MaskTrace": "audit.trace_masks",
        "trace_masks": "audit.trace_masks",
    },
)
