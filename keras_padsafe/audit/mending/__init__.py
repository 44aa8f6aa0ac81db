"""Swapping layers in a file and proving it: `repair`, `check_config`."""
