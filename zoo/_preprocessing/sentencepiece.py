"""Reads the pieces of a SentencePiece model: a message of Protocol Buffers, of which few fields matter here.

Fields: https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto; their encoding:
https://protobuf.dev/programming-guides/encoding/.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from zoo._errors import ZooError

Value: TypeAlias = int | bytes

VARINT, EIGHT_BYTES, BYTES, FOUR_BYTES = 0, 1, 2, 5  # types of encoding
UNIGRAM = 1


class Pieces(NamedTuple):
    """Content of a Unigram model.

    Attributes:
        scores: Pieces of words with the logarithms of their probabilities, by id.
        charsmap: Rules that normalize characters, as `tokenizers.normalizers.Precompiled` takes them.
    """

    scores: list[tuple[str, float]]
    charsmap: bytes


def read_pieces(content: bytes) -> Pieces:
    """Reads a model.

    Raises:
        ZooError: it is damaged, or not a Unigram model.
    """
    kind: Value = UNIGRAM
    scores, charsmap = list[tuple[str, float]](), b""
    try:
        for number, value in _fields(content):
            if number == 1:
                scores.append(_piece(_bytes(value)))
            elif number == 2:
                kind = dict(_fields(_bytes(value))).get(3, UNIGRAM)
            elif number == 3:
                charsmap = next((_bytes(each) for field, each in _fields(_bytes(value)) if field == 2), b"")
    except (ValueError, struct.error) as error:
        raise ZooError(f"not a SentencePiece model: {error}") from error
    if kind != UNIGRAM or not scores:
        raise ZooError(
            f"a SentencePiece model of type {kind!r} with {len(scores)} pieces; expected Unigram's."
        )
    return Pieces(scores, charsmap)


def _piece(message: bytes) -> tuple[str, float]:
    fields = dict(_fields(message))
    return _bytes(fields.get(1, b"")).decode(), struct.unpack("<f", _bytes(fields.get(2, bytes(4))))[0]


def _bytes(value: Value) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a number where bytes are expected")
    return value


def _fields(message: bytes) -> Iterator[tuple[int, Value]]:
    """Yields the number and value of each field."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        value: Value
        if key & 7 == VARINT:
            value, place = _varint(message, place)
        elif key & 7 in (EIGHT_BYTES, BYTES, FOUR_BYTES):
            size = {EIGHT_BYTES: 8, FOUR_BYTES: 4}.get(key & 7)
            if size is None:
                size, place = _varint(message, place)
            if place + size > len(message):
                raise ValueError("its end is missing")
            value, place = message[place : place + size], place + size
        else:
            raise ValueError(f"an encoding of type {key & 7}")
        yield key >> 3, value


def _varint(message: bytes, place: int) -> tuple[int, int]:
    """Returns a number of seven bits a byte, the lowest first, and the place behind it."""
    number = 0
    for index, byte in enumerate(message[place : place + 10]):
        number |= (byte & 127) << 7 * index
        if byte < 128:
            return number, place + index + 1
    raise ValueError("a number without an end")
