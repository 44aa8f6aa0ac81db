"""A change of one vocabulary, written down; what cannot be done is refused."""
