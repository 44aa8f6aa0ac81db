"""What data and files hold, no model run: `check_ids`, `check_weights`."""
