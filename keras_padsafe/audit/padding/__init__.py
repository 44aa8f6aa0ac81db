"""Whether padding changes an answer, and where that begins: `check_padding`."""
