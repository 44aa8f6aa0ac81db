"""The errors that keras_padsafe raises on purpose.

Each message says what happened, where, what was expected, what was received and
how to mend it, and never shows the contents of a tensor.
"""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keras_padsafe.audit import AuditReport
    from keras_padsafe.proof.certificate import Certificate


class PadsafeError(ValueError):
    """Base of every error raised on purpose; the command line exits with 2."""


class ArchiveError(PadsafeError):
    """A file is not a Keras 3 model file that can be read or written safely."""


class SurgeryError(PadsafeError):
    """A change to a vocabulary was asked for that cannot be carried out."""


class AmbiguousVocabularyError(SurgeryError):
    """Two readings of a model are possible; the message lists them and the flag."""


class NotProvedError(SurgeryError):
    """A new file was wrong, or could not be proved, and so was not kept.

    Attributes:
        certificate: What was looked at, and what was found.
    """

    def __init__(self, message: str, certificate: "Certificate") -> None:
        super().__init__(message)
        self.certificate = certificate


class MaskError(PadsafeError):
    """A mask has the wrong type, or a shape that cannot be what was meant."""


class IdError(PadsafeError):
    """An id is neither a row of the table nor a pad id."""


class InitializerError(PadsafeError):
    """An initializer cannot make the array that was asked of it."""


class DataError(PadsafeError):
    """Sequences cannot be put into batches as they are, or as was asked."""


class AuditError(PadsafeError):
    """An audit was asked for something that it cannot look at."""


class GuardError(PadsafeError):
    """A training cannot be guarded as it is set up."""


class NonFiniteError(PadsafeError):
    """A guarded training met a batch that would have cost the model its weights.

    Attributes:
        report: What `find_nonfinite` says of that batch; `None` if it could not be
            replayed.
    """

    def __init__(self, message: str, report: "AuditReport | None" = None) -> None:
        super().__init__(message)
        self.report = report


def message_of(error: BaseException) -> str:
    """What Keras raised, without the configuration or the numbers that it ends with."""
    # A KeyError shows its text as Python spells it.
    said = error.args[0] if isinstance(error, KeyError) and error.args else error
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(said))
    text = re.split("Full object config:|Target variable:", text)[0]
    told, _, repeated = text.partition("\n\nconfig={")
    cause = repeated.rpartition("Exception encountered: ")[2] if repeated else ""
    text = f"{told} {cause}"
    return f"{type(error).__name__}: {text.strip()}"
