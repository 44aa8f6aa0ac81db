"""The errors that keras_padsafe raises on purpose.

Each message says what happened, where, what was expected, what was received and
how to mend it, and never shows the contents of a tensor.
"""


class PadsafeError(ValueError):
    """Base of every error raised on purpose; the command line exits with 2."""


class ArchiveError(PadsafeError):
    """A file is not a Keras 3 model file that can be read or written safely."""


class SurgeryError(PadsafeError):
    """A change to a vocabulary was asked for that cannot be carried out."""


class AmbiguousVocabularyError(SurgeryError):
    """Two readings of a model are possible; the message lists them and the flag."""


class MaskError(PadsafeError):
    """A mask has the wrong type, or a shape that cannot be what was meant."""


class IdError(PadsafeError):
    """An id is neither a row of the table nor a pad id."""


class InitializerError(PadsafeError):
    """An initializer cannot make the array that was asked of it."""


class AuditError(PadsafeError):
    """An audit was asked for something that it cannot look at."""
