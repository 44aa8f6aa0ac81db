"""The pieces of a SentencePiece model: read, and added at the end.

Of its protocol buffer only what is needed is understood: a model is a message whose
fields number 1 are the pieces, in the order of their ids, each with its text, its score
and what it is. All other bytes are kept as they are.

References:
    - Kudo and Richardson, "SentencePiece", 2018; its `sentencepiece_model.proto`.
    - The encoding of protocol buffers, protobuf.dev/programming-guides/encoding.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from keras_padsafe.errors import SurgeryError

_PIECES, _TEXT = 1, 1
_VARINT, _EIGHT_BYTES, _COUNTED, _FOUR_BYTES = 0, 1, 2, 5
# Its score, 0.0, and that a user defined it: it is found in text before anything else
# is, and never cut.
_NEW = b"\x15\x00\x00\x00\x00" + b"\x18\x04"


class _Field(NamedTuple):
    number: int
    wire: int
    start: int
    data: bytes
    end: int


def read_pieces(model: bytes) -> tuple[str, ...]:
    """The texts of the pieces, in the order of their ids.

    Raises:
        SurgeryError: if the bytes are no SentencePiece model.
    """
    return tuple(text for _, text in _pieces(model))


def with_pieces(model: bytes, words: Sequence[str]) -> bytes:
    """The model with these pieces; they may only be more, or fewer, at the end."""
    found = list(_pieces(model))
    common = min(len(found), len(words))
    if [text for _, text in found[:common]] != list(words[:common]):
        raise SurgeryError(
            "A SentencePiece model keeps the order of its pieces. Expected: new ones "
            "at its end only."
        )
    kept, position = bytearray(), 0
    for field, _ in found[len(words) :]:
        kept += model[position : field.start]
        position = field.end
    kept += model[position:]
    return bytes(kept) + b"".join(_encoded(word) for word in words[common:])


def _pieces(model: bytes) -> Iterator[tuple[_Field, str]]:
    try:
        for field in _fields(model):
            if field.number == _PIECES:
                yield field, _text(field)
    except (IndexError, UnicodeDecodeError, ValueError) as error:
        raise SurgeryError(
            f"vocabulary.spm is no SentencePiece model ({error}). Expected: the file "
            "as KerasHub writes it. Save the tokenizer again."
        ) from None


def _text(piece: _Field) -> str:
    texts = [f.data for f in _fields(piece.data) if f.number == _TEXT]
    if piece.wire != _COUNTED or len(texts) != 1:
        raise ValueError(f"the piece at byte {piece.start} has {len(texts)} texts")
    return texts[0].decode("utf-8")


def _fields(message: bytes) -> Iterator[_Field]:
    position = 0
    while position < len(message):
        start = position
        key, position = _varint(message, position)
        number, wire = key >> 3, key & 7
        if wire == _COUNTED:
            size, position = _varint(message, position)
        elif wire in (_FOUR_BYTES, _EIGHT_BYTES):
            size = 4 if wire == _FOUR_BYTES else 8
        elif wire == _VARINT:
            size = _varint(message, position)[1] - position
        else:
            raise ValueError(f"a field of type {wire} at byte {start}")
        end = position + size
        if not number or end > len(message):
            raise ValueError(f"the field at byte {start} reaches past the end")
        yield _Field(number, wire, start, message[position:end], end)
        position = end


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError(f"the number before byte {position} has no end")


def _encoded(word: str) -> bytes:
    piece = _counted(_TEXT, word.encode("utf-8")) + _NEW
    return _counted(_PIECES, piece)


def _counted(number: int, data: bytes) -> bytes:
    """A field of counted bytes."""
    size, encoded = len(data), bytearray([number << 3 | _COUNTED])
    while size > 0x7F:
        encoded.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([*encoded, size]) + data
