"""A training step that undoes itself when it is not finite: `NonFiniteGuard`."""
