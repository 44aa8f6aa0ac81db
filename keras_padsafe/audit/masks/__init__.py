"""Where masks are born, used and lost: `trace_masks`, `assert_mask_reaches`."""
