"""Says that a plan was not made for a file like the one at hand."""

from keras_padsafe.archive import Archive
from keras_padsafe.errors import SurgeryError


def unfit(
    source: Archive, place: str, planned: str, found: str, has: str = "has"
) -> SurgeryError:
    """The error to raise."""
    return SurgeryError(
        f"{source.path}: the plan does not fit this file. {place}: the plan has "
        f"{planned}, and the file {has} {found}. Make a plan for this file."
    )
