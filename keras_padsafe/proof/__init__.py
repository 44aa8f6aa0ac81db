"""Both models run, and what that shows."""
