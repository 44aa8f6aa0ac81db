"""The files in which tokenizers keep their words, and how each takes in new ones."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from keras_padsafe.archive.limits import Limits
from keras_padsafe.archive.strict_json import parse_object
from keras_padsafe.arguments import MAX_IDS
from keras_padsafe.errors import SurgeryError
from keras_padsafe.surgery.finding.sentence_piece import read_pieces, with_pieces

Words = tuple[str, ...]


@dataclass(frozen=True)
class WordFile:
    """A kind of file that lists the words of a tokenizer.

    Attributes:
        read: The words, in the order of their ids; `None` where an id has none.
        write: The file with other words.
        only_appends: Whether words can only be added at the end: those that are there
            are parts of others, and their ids cannot change.
    """

    read: Callable[[bytes], Words | None]
    write: Callable[[bytes, Sequence[str]], bytes]
    only_appends: bool


def _read_lines(text: bytes) -> Words:
    try:
        lines = text.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise SurgeryError(
            f"vocabulary.txt is not UTF-8 ({error.reason} at byte {error.start}). "
            "Expected: one word a line, as Keras writes it."
        ) from None
    while lines and lines[-1] == "":
        lines.pop()
    return tuple(line.rstrip("\r") for line in lines)


def _write_lines(text: bytes, words: Sequence[str]) -> bytes:
    ending = "\n" if text.endswith(b"\n") else ""
    return ("\n".join(words) + ending).encode()


def _read_ids(text: bytes) -> Words | None:
    ids = parse_object("vocabulary.json", text, Limits())
    wrong = next((word for word, id_ in ids.items() if type(id_) is not int), None)
    if wrong is not None:
        raise SurgeryError(
            f"vocabulary.json gives {wrong!r} no number. Expected: an id for each "
            "word, as KerasHub writes it. Save the tokenizer again."
        )
    by_id = sorted(ids, key=ids.__getitem__)
    numbered = len(ids) <= MAX_IDS and all(
        ids[word] == number for number, word in enumerate(by_id)
    )
    return tuple(by_id) if numbered else None


def _write_ids(text: bytes, words: Sequence[str]) -> bytes:
    before: dict[str, int] = json.loads(text)
    kept = {word: id_ for word, id_ in before.items() if id_ < len(words)}
    if any(words[id_] != word for word, id_ in kept.items()):
        raise SurgeryError(
            "Byte pairs keep their ids. Expected: new words at the end of "
            "vocabulary.json only."
        )
    new = {word: len(kept) + n for n, word in enumerate(words[len(kept) :])}
    return json.dumps(kept | new).encode()


WORD_FILES = {
    "vocabulary.txt": WordFile(_read_lines, _write_lines, only_appends=False),
    "vocabulary.json": WordFile(_read_ids, _write_ids, only_appends=True),
    "vocabulary.spm": WordFile(read_pieces, with_pieces, only_appends=True),
}
"""By the name that KerasHub gives the file."""


def word_file(asset: str) -> WordFile:
    """The kind of an asset; an error if it is none that lists words."""
    kind = WORD_FILES.get(asset.rpartition("/")[2])
    if kind is None:
        raise SurgeryError(
            f"Asset {asset!r} is not known to list words. Expected: a file called "
            f"{', '.join(WORD_FILES)}. Make a plan for this file."
        )
    return kind
