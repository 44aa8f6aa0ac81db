"""What Keras calls elements that HDF5 keeps as mere bytes."""

OPAQUE_WIDTHS = (1, 2, 4, 8)


def opaque_dtype(width: int, keras_name: str | None) -> str | None:
    """The name of opaque bytes of `width`, or None where there is none.

    Keras stores bfloat16 as two opaque bytes beside an attribute that says so;
    the type of any other opaque array is lost.
    """
    if keras_name == "bfloat16" and width == 2:
        return "bfloat16"
    return f"opaque{width}" if width in OPAQUE_WIDTHS else None
