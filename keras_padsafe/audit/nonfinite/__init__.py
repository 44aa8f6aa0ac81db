"""Where a value or gradient becomes non-finite, and why: `find_nonfinite`."""
