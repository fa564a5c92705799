"""Seal the log: sign the heads of all streams of a tenant at one moment.

The key is derived from the vault's, so it is never in the database: who can write there can rewrite a chain,
but not what was sealed. A seal kept elsewhere shows that a tail was cut. Each holds the digest of the
one before; `check` says what else stands in it.

A seal goes on from one of ours alone: anybody who can write there can sign with a key of theirs. So what is
not ours is never followed by what is, and can be taken out; until then nothing is sealed.
"""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias
from uuid import UUID

import orjson

from postroom.db.pool import Connection, Database
from postroom.ids import TenantId
from postroom.vault.sign import Signer

from . import log, store
from .chain import moment
from .check import UNREADABLE, Heads, Sealing, opened
from .model import TENANT, ChainBroken, Event, Removed, Seal

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
    newest, before = await newest_of_ours(conn, signer, tenant, older)
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


async def newest_of_ours(
    conn: Connection, signer: Signer, tenant: TenantId, older: Collection[bytes] = ()
) -> tuple[Seal, Sealing] | tuple[None, None]:
    """The newest seal, and what it says. Raises `ChainBroken` when it is not ours."""
    seal = await store.newest_seal(conn, tenant)
    if seal is None:
        return None, None
    try:
        said = opened(seal.body, seal.signature)
        if (said.tenant, said.number) != (tenant, seal.number):
            raise ValueError("it is another seal's")
    except UNREADABLE as error:
        raise ChainBroken(
            f"Seal {seal.number} was altered, or is not ours; see `postroom events verify`.", seal=seal.number
        ) from error
    if said.key not in {signer.public, *older}:
        raise ChainBroken(
            f"Seal {seal.number} is signed with {said.key.hex()}, which is not known here. If that was your "
            "key, say so once with `postroom events seal --trust`; if not, somebody else has put it there.",
            seal=seal.number,
        )
    return seal, said


async def tell(conn: Connection, tenant: TenantId, name: UUID, *, is_refused: bool) -> None:
    """Tell once that the log cannot be sealed, and once that it is again. `name`: the tenant's public id."""
    await store.lock_seals(conn, tenant)
    if is_refused != await store.is_refused(conn, tenant):
        kind = "events.seal_refused" if is_refused else "events.seal_resumed"
        await log.append(conn, tenant, TENANT, [Event(kind, {"tenant": str(name)})])
        await store.set_refused(conn, tenant, is_refused=is_refused)


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
