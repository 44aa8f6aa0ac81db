"""Each model that loses a mask is told where."""

import keras
import pytest

from keras_padsafe.audit import trace_masks
from tests.audit.mask_faults import IDS, MASK_FAULTS


@pytest.mark.filterwarnings("ignore:.*destroy the mask information")
@pytest.mark.parametrize("name", MASK_FAULTS)
def test_a_lost_mask_is_named(name: str) -> None:
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    fault = MASK_FAULTS[name]
    ids = keras.Input((4,), dtype="int32")
    report = trace_masks(keras.Model(ids, fault.build(ids)), IDS)
    assert (report.findings[0].code, report.findings[0].place) == fault[:2], str(report)
