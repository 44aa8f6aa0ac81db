"""The documentation site; `build.py` gathers its pages and calls Sphinx."""

import inspect
from typing import Any

from sphinx.util.inspect import stringify_signature

from keras_padsafe.version import __version__ as release

project = "keras_padsafe"
author = "The keras_padsafe authors"
copyright = author
version = release
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "myst_nb",
]
root_doc = "README"
html_theme = "furo"
html_title = f"keras_padsafe {release}"
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # The tests run them; their results are in the files.
default_role = "code"  # Docstrings write names as `name`.
napoleon_custom_sections = [
    ("Call arguments", "params_style"),
    "Input shape",
    "Output shape",
    "Masking",
]
autosummary_generate = True
autodoc_typehints = "none"
autodoc_default_options = {"members": False}
# Highlighting: the screens and the diagrams of the pages are in no language.
suppress_warnings = ["misc.highlighting_failure", "myst.header"]


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _example_apart, priority=100)
    app.connect("autodoc-process-signature", _as_constructed)


def _as_constructed(*event: Any) -> tuple[str, str] | None:
    """The arguments of a layer, in place of those that `Layer.__new__` passes on."""
    shown, value = event[-2], event[3]
    if shown != "(*args, **kwargs)" or not isinstance(value, type):
        return None
    _, *taken = inspect.signature(value.__init__).parameters.values()
    return stringify_signature(inspect.Signature(taken), show_annotation=False), ""


def _example_apart(*event: Any) -> None:
    """An empty line between the title of a section and the example below it."""
    lines = event[-1]
    for number in range(len(lines) - 1, 0, -1):
        if lines[number].startswith(">>>") and lines[number - 1].endswith(":"):
            lines.insert(number, "")
