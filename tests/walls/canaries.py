"""Words that must not turn up, every form in which they could, and the places where one has to look."""

import base64
import json
from collections.abc import Mapping
from urllib.parse import quote, quote_plus

import asyncpg

SHORTEST = 6
"""Bytes of a form that is looked for; shorter ones stand anywhere."""


def forms(word: str) -> set[bytes]:
    """As it is, escaped, and packed: hexadecimal as PostgreSQL shows bytes, base64 at any place of a text."""
    raw = word.encode()
    found = {raw, raw.hex().encode(), quote(word).encode(), quote_plus(word).encode()}
    found |= {json.dumps(word)[1:-1].encode(), repr(word)[1:-1].encode()}
    for before in range(3):
        packed = base64.b64encode(bytes(before) + raw + bytes(2))
        # Without the letters that hold bits of what stands before and behind.
        whole = packed[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6]
        found |= {whole, whole.replace(b"+", b"-").replace(b"/", b"_")}
    return {form.lower() for form in found if len(form) >= SHORTEST}


def found_in(text: bytes, words: Mapping[str, str]) -> dict[str, str]:
    """Those of the words that stand in a text, in whatever form, by name; each with what stands around it."""
    folded, found = text.lower(), {}
    for name, word in words.items():
        at = max(folded.find(form) for form in forms(word))
        if at >= 0:
            found[name] = text[max(at - 200, 0) : at + 100].decode(errors="replace")
    return found


TABLES = "SELECT relname FROM pg_class WHERE relnamespace = 'postroom'::regnamespace AND relkind = 'r'"


async def dump(dsn: str) -> dict[str, bytes]:
    """Every table of a database as text, as a superuser sees it."""
    conn = await asyncpg.connect(dsn, server_settings={"search_path": "postroom"})
    try:
        found = {}
        for [name] in await conn.fetch(TABLES):
            rows = await conn.fetch(f"SELECT t::text FROM {name} t")  # noqa: S608  names of the catalogue
            found[name] = "\n".join(row[0] for row in rows).encode()
        return found
    finally:
        await conn.close()
