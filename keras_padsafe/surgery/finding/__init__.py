"""What is bound to a vocabulary, and why."""
