"""Running a model under watch, leaving it as it was, and changing what flows in it."""
