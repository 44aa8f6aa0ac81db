"""A file read as a model, without Keras."""
