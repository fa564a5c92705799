"""Seal the log: sign the heads of all streams of a tenant at one moment.

The key is derived from the vault's, so it is never in the database: who can write there can rewrite a chain,
but not what was sealed. A seal kept elsewhere shows that a tail was cut. Each holds the digest of the
one before; `check` says what else stands in it.

A seal goes on from one by any key, so that keys can be changed. But what it says of removals is taken over
from one by a key of ours alone: it hides what is not there, and anybody can sign with a key of theirs.
"""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

import orjson

from postroom.db.pool import Connection, Database
from postroom.ids import TenantId
from postroom.vault.sign import Signer

from . import store
from .chain import moment
from .check import UNREADABLE, Heads, Sealing, opened
from .model import ChainBroken, Removed, Seal

Ends: TypeAlias = dict[int, tuple[int, bytes]]  # stream -> seq, hash


async def seal(db: Database, signer: Signer, tenant: TenantId, older: Collection[bytes] = ()) -> Seal:
    """Make a seal, or return the newest where nothing has happened since. `older`: public keys of before.

    Raises `ChainBroken` when the log ends before the place that was sealed last, or has gone on from another:
    sealing that would hide it.
    """
    async with db.transaction(tenant) as conn:
        return await seal_within(conn, signer, tenant, older)


async def seal_within(
    conn: Connection,
    signer: Signer,
    tenant: TenantId,
    older: Collection[bytes] = (),
    removing: Sequence[Removed] = (),
) -> Seal:
    """The same in a transaction of the caller's, who is `removing` all up to these entries."""
    await store.lock_seals(conn, tenant)
    newest = await store.newest_seal(conn, tenant)
    before = read(newest, signer, older) if newest else None
    heads: Ends = {head.stream: (head.seq, head.hash) async for head in store.heads(conn, tenant)}
    if before is not None:
        _require_growth(before, heads)
        if newest and not removing and before.heads == heads and before.key == signer.public:
            return newest
        await _require_the_same(conn, tenant, before, heads)
    removed = dict(before.removed) if before else {}
    removed |= {one.stream: (one.seq, one.position, one.hash) for one in removing}
    made = _made(signer, tenant, before, heads, removed)
    await store.add_seal(conn, tenant, made)
    return made


def read(seal: Seal, signer: Signer, older: Collection[bytes] = ()) -> Sealing:
    """Raises `ChainBroken` when it was altered, or tells of removals and is signed with no key of ours."""
    try:
        said = opened(seal.body, seal.signature)
    except UNREADABLE as error:
        raise ChainBroken(
            f"Seal {seal.number} was altered; see `postroom events verify`.", seal=seal.number
        ) from error
    if said.removed and said.key != signer.public and said.key not in older:
        raise ChainBroken(
            f"Seal {seal.number} says that events were removed, and is signed with a key that is not known "
            "here. If that was the secret key before this one, name it beside it until the next seal.",
            seal=seal.number,
        )
    return said


def line(seal: Seal) -> bytes:
    """A seal as it is kept in a file, and in an export."""
    content = [seal.number, seal.body, seal.signature.hex()]
    return orjson.dumps({"seal": content}, option=orjson.OPT_APPEND_NEWLINE)


def _made(signer: Signer, tenant: TenantId, before: Sealing | None, heads: Ends, removed: Heads) -> Seal:
    number = before.number + 1 if before else 1
    said: dict[str, Any] = {
        "at": moment(datetime.now(UTC)),
        "heads": [[stream, seq, digest.hex()] for stream, (seq, digest) in heads.items()],
        "key": signer.public.hex(),
        "number": number,
        "previous": (before.digest if before else bytes(32)).hex(),
        "tenant": tenant,
    }
    if removed:
        said["removed"] = [[stream, *end, digest.hex()] for stream, (*end, digest) in removed.items()]
    body = orjson.dumps(said)
    return Seal(number, body.decode(), signer.sign(body))


async def _require_the_same(conn: Connection, tenant: TenantId, before: Sealing, heads: Ends) -> None:
    """A tail that was cut may have grown again since. What was removed at a seal is not looked for."""
    gone = {stream: seq for stream, (seq, _, _) in before.removed.items()}
    grown = {
        stream: end
        for stream, end in before.heads.items()
        if end != heads[stream] and end[0] > gone.get(stream, 0)
    }
    if (found := await store.not_there(conn, tenant, grown)) is not None:
        stream, seq = found
        raise ChainBroken(
            f"Entry {seq} of stream {stream} is not that of seal {before.number}; see `postroom events "
            "verify`.",
            stream=stream,
            seq=seq,
        )


def _require_growth(before: Sealing, heads: Ends) -> None:
    for stream, (seq, _) in before.heads.items():
        now = heads.get(stream, (0, b""))[0]
        if now < seq:
            raise ChainBroken(
                f"Stream {stream} ends with entry {now}, and seal {before.number} holds entry {seq}; see "
                "`postroom events verify`.",
                stream=stream,
                seq=now + 1,
            )
