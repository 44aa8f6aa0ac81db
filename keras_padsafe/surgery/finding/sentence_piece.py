"""The pieces of a SentencePiece model: read, and added at the end.

Of its protocol buffer only what is needed is understood: a model is a message whose
fields number 1 are the pieces, in the order of their ids, each with its text, its score
and what it is. All other bytes are kept as they are.

References:
    - Kudo and Richardson, "SentencePiece", 2018; its `sentencepiece_model.proto`.
    - The encoding of protocol buffers, protobuf.dev/programming-guides/encoding.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from keras_padsafe.errors import SurgeryError

_PIECES, _TEXT, _SCORE, _KIND = 1, 1, 2, 3
_VARINT, _EIGHT_BYTES, _COUNTED, _FOUR_BYTES = 0, 1, 2, 5
_USER_DEFINED = 4  # found in text before anything else is, and never cut


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
    """The model with these pieces; they may only be more, or fewer, at the end.

    Raises:
        SurgeryError: if others would change.
    """
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
    text = word.encode("utf-8")
    piece = (
        _key(_TEXT, _COUNTED)
        + _number(len(text))
        + text
        + _key(_SCORE, _FOUR_BYTES)
        + struct.pack("<f", 0.0)
        + _key(_KIND, _VARINT)
        + _number(_USER_DEFINED)
    )
    return _key(_PIECES, _COUNTED) + _number(len(piece)) + piece


def _key(number: int, wire: int) -> bytes:
    return _number(number << 3 | wire)


def _number(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])
