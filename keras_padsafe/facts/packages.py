"""Packages of models beside Keras itself."""

IMPORTED_UNASKED = ("keras_hub", "keras_rs")
"""Packages that surgery imports where a file names a class of theirs."""

SIZE_KEYS = {"keras_hub": "vocabulary_size"}
"""The key by which the models of a package count the ids of their text."""
