"""Whatever is done to the log behind our back is found, and named."""

import asyncio
import io
import re
import tracemalloc
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import asyncpg
import orjson
import pytest
from servers.tenants import ONE, TWO

from postroom.db.pool import Database
from postroom.events import check, log, store
from postroom.events import export as exporting
from postroom.events import seal as sealing
from postroom.events.check import Sealing, opened
from postroom.events.model import ChainBroken, Entry, Seal, Stream
from postroom.events.verify import verify
from postroom.vault.seal import Key, Vault

from .forging import (
    LAST,
    SEALED,
    SEVEN,
    SIGNER,
    STRANGER,
    Act,
    Forger,
    Place,
    acts,
    event,
    truncated,
    written,
)

pytestmark = pytest.mark.usefixtures("tenants")

HOWTO = Path(__file__).parents[2] / "docs" / "howto" / "check-the-log.md"
KEYS = [SIGNER.public]
BIG = """
    INSERT INTO postroom.events_seal SELECT 1, n, repeat('x', 1000000), '' FROM generate_series(1, 60) AS n
"""


@dataclass(slots=True)
class Scene:
    db: Database
    kept: Seal
    entries: list[Entry]  # of stream 7
    forger: Forger

    @property
    def sealing(self) -> Sealing:
        return opened(self.kept.body, self.kept.signature)

    async def named(self, *, kept: bool = True, stream: Stream | None = None) -> set[Place]:
        """What verifying the database names."""
        found = await verify(self.db, ONE, KEYS, stream=stream, kept=self.sealing if kept else None)
        return places(found.findings)

    async def named_in_export(self, *, kept: bool = True) -> set[Place]:
        """What checking an export names."""
        lines = (await exported(self.db)).splitlines()
        return places(check.check(lines, KEYS, self.sealing if kept else None).findings)


def places(findings: check.Findings) -> set[Place]:
    return {(fault.stream, fault.seq or 0) for fault in findings}


async def exported(db: Database) -> str:
    file = io.BytesIO()
    await exporting.export(db, ONE, file)
    return file.getvalue().decode()


@pytest.fixture
async def scene(db: Database, dsn: str) -> AsyncIterator[Scene]:
    kept = await written(db)
    async with db.transaction(ONE) as conn:
        entries = await log.read(conn, ONE, SEVEN)
    conn = await asyncpg.connect(dsn)
    forger = Forger(conn)
    await forger.remember()
    yield Scene(db, kept, entries, forger)
    await conn.close()


async def test_an_honest_log_has_no_faults(scene: Scene) -> None:
    found = await verify(scene.db, ONE, KEYS, kept=scene.sealing)

    assert (found.findings, found.streams, found.entries, found.seal) == ([], 2, LAST + 4, 2)
    assert await scene.named_in_export() == set()


async def test_every_act_of_forgery_is_found_and_named(scene: Scene) -> None:
    """In the database, and in an export; each act by itself."""
    missed = []
    done: list[Act] = list(acts(scene.entries))
    for act in done:
        await scene.forger.do(act.statement)
        for how, named in (
            ("database", await scene.named(kept=act.only_with_kept)),
            ("export", await scene.named_in_export(kept=act.only_with_kept)),
        ):
            if not named & act.named:
                missed.append((act.name, how, named))
        await scene.forger.undo()

    assert missed == []
    assert len(done) > 150
    assert await scene.named() == set()


@pytest.mark.parametrize("stream", [7, 8])
async def test_one_stream_can_be_checked_alone(scene: Scene, stream: int) -> None:
    await scene.forger.do("UPDATE events_event SET kind = 'mail.left' WHERE stream = 8 AND seq = 2")

    named = await scene.named(stream=Stream(stream))

    assert named == ({(8, 2)} if stream == 8 else set())


async def test_each_of_several_faults_is_named_and_nothing_else(scene: Scene) -> None:
    await scene.forger.do("""
        UPDATE events_event SET body = '{}' WHERE stream = 7 AND seq IN (2, 5);
        DELETE FROM events_event WHERE stream = 8 AND seq = 2;
        UPDATE events_event SET hash = sha256(hash) WHERE stream = 8 AND seq = 4""")

    assert await scene.named() == {(7, 2), (7, 5), (8, 2), (8, 4)}


async def test_what_happened_after_the_last_seal_is_not_covered_by_one(scene: Scene) -> None:
    """The limit of seals, so that nobody believes more: what is younger than the last can be cut unseen."""
    last = scene.entries[SEALED - 1]
    await scene.forger.do(truncated(last))

    assert await scene.named() == set()


async def test_a_seal_by_somebody_else_is_found(scene: Scene) -> None:
    await sealing.seal(scene.db, STRANGER, ONE, KEYS)
    found = await verify(scene.db, ONE, KEYS)

    assert [(fault.code, fault.seq) for fault in found.findings] == [("seal_untrusted", 3)]
    assert STRANGER.public.hex() in found.findings[0].message
    assert await scene.named_in_export() == {(None, 3)}


@dataclass(frozen=True, slots=True)
class Foreign:
    """A row among our seals that we did not make."""

    name: str
    number: int
    body: str = "{}"
    signature: bytes = b""


async def foreign(db: Database, kept: Seal) -> list[Foreign]:
    """All kinds; the last seal of ours is `kept`."""
    async with db.transaction(TWO) as conn:
        await log.append(conn, TWO, SEVEN, [event(1)])
    theirs = await sealing.seal(db, SIGNER, TWO)
    before = opened(kept.body, kept.signature)

    def made(name: str, number: int, heads: sealing.Ends) -> Foreign:
        seal = sealing._made(STRANGER, ONE, replace(before, number=number - 1), heads, {})
        return Foreign(name, number, seal.body, seal.signature)

    return [
        Foreign("no seal at all", 3),
        Foreign("no seal, far ahead", 1 << 40),
        Foreign("no seal, before the first", 0),
        Foreign("ours once more", 3, kept.body, kept.signature),
        Foreign("ours of another tenant", 3, theirs.body, theirs.signature),
        made("signed by somebody else", 3, before.heads),
        made("signed by somebody else, far ahead", 1 << 40, before.heads),
        made("of more than there is", 3, {SEVEN: (LAST + 9, bytes(32))}),
    ]


async def test_what_is_not_ours_is_named_never_sealed_over_and_taken_out_as_the_howto_says(
    scene: Scene,
) -> None:
    """Else one row would be complained of for ever, or end all sealing."""
    take_out = statement_of_the_howto("DELETE")
    for one in await foreign(scene.db, scene.kept):
        row = one.number, one.body, one.signature
        await scene.forger.conn.execute("INSERT INTO postroom.events_seal VALUES (1, $1, $2, $3)", *row)
        named = await scene.named()
        if one.number:
            with pytest.raises(ChainBroken, match=f"Seal {one.number} "):
                await sealing.seal(scene.db, SIGNER, ONE)
        await scene.forger.do(take_out.replace("= 42", f"= {one.number}"))

        assert named & {(None, 3), (None, one.number)}, one.name
        assert await scene.named() == set(), one.name
    assert (await sealing.seal(scene.db, SIGNER, ONE)).number == 3


async def test_a_seal_of_ours_that_was_altered_is_put_back_as_the_howto_says(scene: Scene) -> None:
    line = sealing.line(scene.kept).decode().replace("'", "''")
    await scene.forger.do("UPDATE events_seal SET body = replace(body, '7', '8') WHERE number = 2")
    altered = await scene.named(kept=False)
    await scene.forger.do(statement_of_the_howto("DELETE").replace("= 42", "= 2"))
    await scene.forger.do(statement_of_the_howto("INSERT").replace(":'seal'", f"'{line}'"))

    assert altered == {(None, 2)}
    assert await scene.named() == set()
    assert (await sealing.seal(scene.db, SIGNER, ONE)).number == 3


def statement_of_the_howto(verb: str) -> str:
    found = re.findall(rf"^=> ({verb} [^;]*;)", HOWTO.read_text(), re.MULTILINE)
    assert len(found) == 1
    return str(found[0])


async def test_seals_outlive_a_change_of_keys(scene: Scene) -> None:
    """The new key's seal follows from the old ones, so the old key may be dropped: it is named once."""
    vault = Vault([Key.derived(b"the new key of the vault"), Key.derived(b"the old key of the vault")])
    with pytest.raises(ChainBroken, match=SIGNER.public.hex()):
        await sealing.seal(scene.db, vault.signer, ONE, vault.public_keys)
    await sealing.seal(scene.db, vault.signer, ONE, KEYS)
    assert (await sealing.seal(scene.db, vault.signer, ONE)).number == 3

    found = await verify(scene.db, ONE, vault.public_keys, kept=scene.sealing)

    assert (found.findings, found.seal) == ([], 3)
    assert places((await verify(scene.db, ONE, [STRANGER.public])).findings) >= {(None, 1), (None, 3)}


async def test_a_seal_that_was_kept_of_another_log_is_refused(scene: Scene) -> None:
    async with scene.db.transaction(TWO) as conn:
        await log.append(conn, TWO, SEVEN, [event(1)])
    foreign = await sealing.seal(scene.db, SIGNER, TWO)

    found = await verify(scene.db, ONE, KEYS, kept=opened(foreign.body, foreign.signature))

    assert [fault.code for fault in found.findings] == ["seal_untrusted"]


async def test_nothing_new_is_not_sealed_again(scene: Scene) -> None:
    first = await sealing.seal(scene.db, SIGNER, ONE)

    assert (first.number, await sealing.seal(scene.db, SIGNER, ONE)) == (3, first)


async def test_two_who_seal_at_once_make_one_seal(scene: Scene) -> None:
    made = await asyncio.gather(*(sealing.seal(scene.db, SIGNER, ONE) for _ in range(5)))

    assert {one.number for one in made} == {3}


async def test_the_first_seal_of_an_empty_log(db: Database) -> None:
    made = await sealing.seal(db, SIGNER, ONE)

    assert orjson.loads(made.body)["heads"] == []
    assert (await verify(db, ONE, KEYS)).findings == []


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM events_head WHERE stream = 8",
        "UPDATE events_head SET seq = 1",
        "UPDATE events_seal SET body = '{}'",
    ],
)
async def test_a_log_that_was_cut_is_not_sealed(scene: Scene, damage: str) -> None:
    await scene.forger.do(damage)

    with pytest.raises(ChainBroken):
        await sealing.seal(scene.db, SIGNER, ONE)


async def test_a_log_that_was_cut_and_has_grown_again_is_not_sealed(scene: Scene) -> None:
    end = scene.entries[2]
    place = f"seq = 3, hash = '\\x{end.hash.hex()}', position = {end.position}"
    await scene.forger.do("DELETE FROM events_event WHERE stream = 7 AND seq > 3")
    await scene.forger.do(f"UPDATE events_head SET {place} WHERE stream = 7")  # noqa: S608
    async with scene.db.transaction(ONE) as conn:
        await log.append(conn, ONE, SEVEN, [event(number) for number in range(10, 20)])

    with pytest.raises(ChainBroken, match=f"Entry {SEALED} of stream 7"):
        await sealing.seal(scene.db, SIGNER, ONE)

    assert (SEVEN, SEALED) in await scene.named(kept=False)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events_seal SET body = ''",
        "DELETE FROM events_seal",
        "DELETE FROM events_head",
        "INSERT INTO events_restored VALUES (1, 1)",
        "TRUNCATE events_seal",
        "INSERT INTO events_seal VALUES (1, 3, '{}', '')",
        "INSERT INTO events_removed VALUES (1, 7, 9, 1 << 60, '', now())",
        "UPDATE events_removed SET seq = 9",
        "DELETE FROM events_removed",
        "DELETE FROM events_event",
        "SELECT events_sweep(1)",
    ],
)
async def test_the_running_role_neither_seals_nor_removes(scene: Scene, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with scene.db.transaction(ONE) as conn:
            await conn.execute(statement)


async def test_faults_beyond_a_thousand_are_counted(db: Database, dsn: str) -> None:
    async with db.transaction(ONE) as conn:
        await log.append(conn, ONE, SEVEN, [event(1)] * 1200)
    conn = await asyncpg.connect(dsn)
    await conn.execute("UPDATE postroom.events_event SET kind = 'mail.left'")
    await conn.close()

    found = await verify(db, ONE, KEYS)

    assert (len(found.findings), found.findings.more) == (1000, 200)


async def test_a_log_that_is_written_meanwhile_is_no_fault(db: Database) -> None:
    """Verifying, sealing and exporting see one moment each; writers do not wait for them."""
    kept = await written(db)
    done = asyncio.Event()

    async def write(stream: int) -> None:
        while not done.is_set():
            async with db.transaction(ONE) as conn:
                await log.append(conn, ONE, Stream(stream), [event(1), event(2)])

    async with asyncio.TaskGroup() as group:
        for stream in (0, 7, 8):
            group.create_task(write(stream))
        for _ in range(10):
            kept = await sealing.seal(db, SIGNER, ONE)
            found = await verify(db, ONE, KEYS, kept=opened(kept.body, kept.signature))
            assert found.findings == []
            assert check.check((await exported(db)).splitlines(), KEYS).findings == []
        done.set()


async def test_seals_of_many_streams_are_not_all_held_at_once(db: Database, dsn: str) -> None:
    """Each says where all streams end, and there is one for each hour."""
    conn = await asyncpg.connect(dsn)
    await conn.execute(BIG)
    await conn.close()
    async with db.transaction(ONE) as own:
        tracemalloc.start()
        found = [seal.number async for seal in store.seals(own, ONE)]
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert found == list(range(1, 61))
    assert most < 30_000_000
