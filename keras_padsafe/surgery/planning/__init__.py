"""A change of one vocabulary, written down."""
