"""How values travel: JSON as orjson reads and writes it, tsvectors that the client has prepared."""

import struct
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import asyncpg
import orjson

A, B, C, D = 3 << 14, 2 << 14, 1 << 14, 0
"""Weights, to be or-ed with a position: `A | 17`. Positions end at 16,383, and at 256 a lexeme."""


def encode_tsvector(lexemes: Mapping[str, Sequence[int]]) -> bytes:
    """PostgreSQL's binary form of a tsvector, so that a COPY or INSERT can carry it.

    Positions ascend and hold their weight in the upper two bits. An empty sequence is a lexeme without
    a position. PostgreSQL itself refuses lexemes over 2,046 bytes and vectors over 1 MB.
    """
    words = "\0".join(lexemes).encode().split(b"\0") if lexemes else []  # at once: twice as fast
    if len(words) != len(lexemes):
        raise ValueError("a lexeme cannot hold a NUL character")
    places = [
        _ONE[positions[0]]
        if len(positions) == 1 and positions[0] < C
        else _PLACES[len(positions)](len(positions), *positions)
        for positions in lexemes.values()
    ]
    return struct.pack(">i", len(words)) + b"".join(chain.from_iterable(zip(words, places, strict=True)))


_PLACES = [struct.Struct(f">x{count + 1}H").pack for count in range(256)]
_ONE = [b"\0\0\1" + position.to_bytes(2, "big") for position in range(1 << 14)]  # what most lexemes have


def decode_tsvector(data: bytes) -> dict[str, list[int]]:
    """The inverse of `encode_tsvector`; lexemes come in PostgreSQL's order."""
    (count,) = struct.unpack_from(">i", data)
    at, lexemes = 4, {}
    for _ in range(count):
        end = data.index(0, at)
        (positions,) = struct.unpack_from(">H", data, end + 1)
        lexemes[data[at:end].decode()] = list(struct.unpack_from(f">{positions}H", data, end + 3))
        at = end + 3 + 2 * positions
    return lexemes


def _tsvector(value: Mapping[str, Sequence[int]] | bytes) -> bytes:
    """A tsvector may come encoded already, by whoever prepared it off the event loop."""
    return value if isinstance(value, bytes) else encode_tsvector(value)


def _encode_jsonb(value: Any) -> bytes:
    """JSON may come as bytes already, by whoever prepared it off the event loop."""
    return b"\x01" + (value if isinstance(value, bytes) else orjson.dumps(value))  # 1: the wire format


def _decode_jsonb(data: bytes) -> Any:
    return orjson.loads(memoryview(data)[1:])


async def register(conn: asyncpg.Connection) -> None:
    """Teach a new connection our codecs. Timestamps need none: asyncpg gives aware UTC."""
    for name, encoder, decoder in (
        ("json", orjson.dumps, orjson.loads),
        ("jsonb", _encode_jsonb, _decode_jsonb),
        ("tsvector", _tsvector, decode_tsvector),
    ):
        await conn.set_type_codec(
            name, schema="pg_catalog", encoder=encoder, decoder=decoder, format="binary"
        )
