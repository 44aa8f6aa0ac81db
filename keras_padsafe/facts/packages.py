"""Packages of models beside Keras itself."""

IMPORTED_UNASKED = ("keras_hub", "keras_rs")
"""Packages that surgery imports where a file names a class of theirs."""

IMPORTED_BY_KERAS = ("keras_cv", "keras_nlp")
"""Packages that Keras would import by itself where a file names a class of theirs."""

WHOLE, SPECIAL = "unsplittable_tokens", "special_tokens"
"""The keys by which KerasHub's tokenizers list tokens that are never cut: all of them,
and those that text may hold beside its own of the class."""

MOST_WHOLE = 10
"""How many of the former KerasHub tells apart in a `tf.data` pipeline."""

SIZE_KEYS = frozenset(("vocabulary_size", "vocab_size", "text_vocab_size"))
"""The keys by which KerasHub's models count the ids of their text."""
