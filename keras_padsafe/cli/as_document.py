"""What `--json` prints."""

import json
from collections.abc import Mapping
from typing import Any


def as_document(kind: str, content: Mapping[str, Any]) -> str:
    """The text of a document: its keys sorted, and `format` among them.

    Args:
        kind: What it is.
        content: Plain data; a `format` that it brings stays.

    Example:

    >>> from keras_padsafe.cli.as_document import as_document
    >>> print(as_document("error", {"exit_code": 2}))
    {
      "exit_code": 2,
      "format": "keras_padsafe.error/1"
    }
    """
    document = {"format": f"keras_padsafe.{kind}/1", **content}
    return json.dumps(document, indent=2, sort_keys=True)
