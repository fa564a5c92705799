# ruff: noqa: S608  a forger writes statements as he likes
"""A log of two streams with two seals, and what somebody who may write to the database could do to it.

    stream 7   1  2  3  4 |  5 | 6        | a seal
    stream 8   1  2  3    |    | 4

`ACTS` says of each act which entries (or seals, under None) may be named for it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import asyncpg
from servers.tenants import ONE

from postroom.db.pool import Database
from postroom.events import chain, log, seal
from postroom.events.model import Entry, Event, Seal, Stream
from postroom.vault.sign import Signer

SIGNER = Signer(bytes(range(32)))
STRANGER = Signer(bytes(32))
SEVEN, EIGHT = Stream(7), Stream(8)
LAST = 6
SEALED = 5  # the last of stream 7 that is

Place = tuple[int | None, int]


@dataclass(frozen=True, slots=True)
class Act:
    """Something done to the log behind our back."""

    name: str
    statement: str
    named: frozenset[Place]
    only_with_kept: bool = False  # shows only beside a seal that was kept elsewhere


async def written(db: Database) -> Seal:
    """Write the log; returns the newest seal, which somebody keeps."""
    for appended in (
        {SEVEN: 3, EIGHT: 2},
        {SEVEN: 1, EIGHT: 1},
        None,
        {SEVEN: 1},
        None,
        {SEVEN: 1, EIGHT: 1},
    ):
        if appended is None:
            kept = await seal.seal(db, SIGNER, ONE)
            continue
        for stream, count in appended.items():
            async with db.transaction(ONE) as conn:
                await log.append(conn, ONE, stream, [event(number) for number in range(count)])
    return kept


def event(number: int) -> Event:
    return Event("mail.flags_changed", {"message": f"{number:036}", "folder": "f" * 36, "flags": ["\\Seen"]})


class Forger:
    """Does an act as a superuser, and takes it back."""

    TABLES = ("events_event", "events_head", "events_seal")

    def __init__(self, conn: asyncpg.Connection) -> None:
        self.conn = conn

    async def remember(self) -> None:
        for table in self.TABLES:
            await self.conn.execute(f"CREATE TABLE public.{table} AS TABLE postroom.{table}")

    async def do(self, statement: str) -> None:
        await self.conn.execute(f"SET search_path = postroom; {statement}")

    async def undo(self) -> None:
        for table in self.TABLES:
            await self.conn.execute(
                f"DELETE FROM postroom.{table}; INSERT INTO postroom.{table} SELECT * FROM public.{table}"
            )


def acts(entries: list[Entry]) -> Iterator[Act]:
    """All of them; `entries` are those of stream 7, from which forged hashes are computed."""
    yield from altered()
    yield from removed()
    yield from inserted()
    yield from reordered()
    yield from cut(entries)
    yield from rewritten(entries)
    yield from heads()
    yield from seals()


def at(seq: int) -> str:
    return f"tenant_id = 1 AND stream = 7 AND seq = {seq}"


def shifted(which: str, to: str) -> str:
    """Statements that renumber; by a detour, because two rows may not have one number at one time."""
    return f"""UPDATE events_event SET seq = 1000 + {to} WHERE stream = 7 AND {which};
               UPDATE events_event SET seq = seq - 1000 WHERE stream = 7 AND seq > 900"""


COLUMNS = {
    "tenant_id": "2",
    "stream": "8",
    "seq": "seq + 100",
    "position": "position + 1",
    "at": "at + interval '1 microsecond'",
    "kind": "'mail.left'",
    "body": "replace(body, 'Seen', 'Flagged')",
    "hash": "sha256(hash)",
}
ABSURD = {
    "stream": "-9223372036854775808",
    "seq": "-seq",
    "position": "-1",
    "at": "'4000-01-01 BC'",
    "kind": "E'a\\nb'",
    "body": "''",
    "hash": "''",
}


def altered() -> Iterator[Act]:
    for how, columns in (("altered", COLUMNS), ("absurd", ABSURD)):
        for column, value in columns.items():
            for seq in range(1, LAST + 1):
                yield Act(
                    f"{column} {seq} {how}",
                    f"UPDATE events_event SET {column} = {value} WHERE {at(seq)}",
                    frozenset({(7, seq)}),
                )
    yield Act("at endless", f"UPDATE events_event SET at = 'infinity' WHERE {at(2)}", frozenset({(7, 2)}))
    for seq in range(1, LAST + 1):  # the hash of the forged text is put right, that of the next entry is not
        yield Act(
            f"body {seq} altered with its hash",
            f"""UPDATE events_event AS e SET body = '{{}}', hash = sha256(
                    coalesce((SELECT hash FROM events_event WHERE {at(seq - 1)}),
                             sha256(convert_to(E'postroom log\\n1\\n7', 'UTF8')))
                    || convert_to(concat_ws(E'\\n', seq, position, to_char(at AT TIME ZONE 'UTC',
                       'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'), kind, '{{}}'), 'UTF8'))
                 WHERE {at(seq)}""",
            frozenset({(7, min(seq + 1, LAST))}),
        )


def removed() -> Iterator[Act]:
    for seq in range(1, LAST + 1):
        yield Act(f"{seq} deleted", f"DELETE FROM events_event WHERE {at(seq)}", frozenset({(7, seq)}))
        yield Act(
            f"{seq} deleted, the rest renumbered",
            f"""DELETE FROM events_event WHERE {at(seq)};
                {shifted(f"seq > {seq}", "seq - 1")};
                UPDATE events_head SET seq = seq - 1 WHERE stream = 7""",
            frozenset({(7, min(seq, LAST - 1))}),  # of the last, only the head's hash is left to tell
        )
    yield Act("all deleted", "DELETE FROM events_event WHERE stream = 7", frozenset({(7, 1)}))
    yield Act(
        "a stream deleted with its head",
        "DELETE FROM events_event WHERE stream = 8; DELETE FROM events_head WHERE stream = 8",
        frozenset({(8, 1)}),
    )


COPY = """
    INSERT INTO events_event (tenant_id, stream, seq, position, at, kind, body, hash)
    SELECT tenant_id, stream, {to}, position, at + interval '{later}', kind, body, hash
      FROM events_event WHERE {which}
"""


def inserted() -> Iterator[Act]:
    for seq in range(1, LAST + 1):
        for later in ("1 s", "-1 s"):
            yield Act(
                f"{seq} twice, {later}",
                COPY.format(to=seq, later=later, which=at(seq)),
                frozenset({(7, seq)}),
            )
        yield Act(
            f"one inserted before {seq}",
            f"{shifted(f'seq >= {seq}', 'seq + 1')};"
            "UPDATE events_head SET seq = seq + 1 WHERE stream = 7;"
            + COPY.format(to=seq, later="0 s", which=at(seq + 1)),
            frozenset({(7, seq), (7, seq + 1)}),
        )
    yield Act("one in front", COPY.format(to=0, later="0 s", which=at(1)), frozenset({(7, 0)}))
    yield Act("one behind", COPY.format(to=LAST + 1, later="0 s", which=at(LAST)), frozenset({(7, LAST + 1)}))
    yield Act(
        "a stream invented",
        COPY.format(to=1, later="0 s", which=at(1)).replace("tenant_id, stream, 1", "tenant_id, 9, 1"),
        frozenset({(9, 1)}),
    )


def reordered() -> Iterator[Act]:
    for seq in range(1, LAST):
        yield Act(
            f"{seq} and {seq + 1} swapped",
            shifted(f"seq IN ({seq}, {seq + 1})", f"{2 * seq + 1} - seq"),
            frozenset({(7, seq)}),
        )
        yield Act(
            f"contents of {seq} and {seq + 1} swapped",
            f"""UPDATE events_event AS a SET body = b.body, kind = b.kind, hash = b.hash
                  FROM events_event AS b
                 WHERE a.stream = 7 AND b.stream = 7 AND a.seq + b.seq = {2 * seq + 1}
                   AND a.seq IN ({seq}, {seq + 1})""",
            frozenset({(7, seq)}),
        )
    yield Act(
        "two streams swapped whole",
        """UPDATE events_event SET stream = 15 - stream; UPDATE events_head SET stream = stream + 15;
           UPDATE events_head SET stream = 30 - stream""",
        frozenset({(7, 1), (8, 1)}),
    )


def truncated(last: Entry) -> str:
    """The tail of stream 7 goes, and the head is put right."""
    return f"""DELETE FROM events_event WHERE stream = 7 AND seq > {last.seq};
               UPDATE events_head SET seq = {last.seq}, hash = '\\x{last.hash.hex()}',
                                      position = {last.position}
                WHERE stream = 7;"""


def cut(entries: list[Entry]) -> Iterator[Act]:
    """Only what was sealed is missed."""
    for seq in range(2, SEALED + 1):
        gone = truncated(entries[seq - 2])
        yield Act(f"cut from {seq}", gone, frozenset({(7, seq)}))
        yield Act(
            f"cut from {seq} with the seals",
            f"{gone} DELETE FROM events_seal WHERE number > {0 if seq <= 4 else 1}",
            frozenset({(7, seq)}),
            only_with_kept=True,
        )


def rewritten(entries: list[Entry]) -> Iterator[Act]:
    """One entry is altered, and every hash behind it, and the head: only a seal knows."""
    for seq in range(1, SEALED + 1):
        statements = []
        previous = entries[seq - 2].hash if seq > 1 else chain.origin(ONE, SEVEN)
        for entry in entries[seq - 1 :]:
            body = "{}" if entry.seq == seq else entry.body
            previous = chain.link(
                previous, entry.seq, entry.position, chain.moment(entry.at), entry.kind, body
            )
            statements.append(
                f"UPDATE events_event SET body = '{body}', hash = '\\x{previous.hex()}' WHERE {at(entry.seq)}"
            )
        statements.append(f"UPDATE events_head SET hash = '\\x{previous.hex()}' WHERE stream = 7")
        yield Act(f"rewritten from {seq}", ";".join(statements), frozenset({(7, SEALED)}))


def heads() -> Iterator[Act]:
    for column, value, seq in (
        ("seq", "seq + 1", LAST + 1),
        ("seq", "seq - 1", LAST),
        ("hash", "sha256(hash)", LAST),
        ("position", "position + 1", LAST),
        ("stream", "70", LAST),
        ("tenant_id", "2", LAST),
    ):
        yield Act(
            f"head's {column} = {value}",
            f"UPDATE events_head SET {column} = {value} WHERE stream = 7",
            frozenset({(7, seq)}),
        )
    yield Act("head deleted", "DELETE FROM events_head WHERE stream = 7", frozenset({(7, LAST)}))


def seals() -> Iterator[Act]:
    for number in (1, 2):
        for what, value in (
            ("body", "replace(body, '\"heads\":[[7,', '\"heads\":[[9,')"),
            ("body", "'{}'"),
            ("body", "'['"),
            ("signature", "sha256(signature) || sha256(signature)"),
            ("signature", "''"),
            ("number", "number + 7"),
            ("tenant_id", "2"),
        ):
            named = frozenset({(None, number)})
            yield Act(
                f"seal {number}: {what} = {value}",
                f"UPDATE events_seal SET {what} = {value} WHERE number = {number}",
                named,
                only_with_kept=(number, what) == (2, "tenant_id"),
            )
    yield Act("seal 1 deleted", "DELETE FROM events_seal WHERE number = 1", frozenset({(None, 1)}))
    yield Act(
        "seal 2 deleted",
        "DELETE FROM events_seal WHERE number = 2",
        frozenset({(None, 2)}),
        only_with_kept=True,
    )
    yield Act("all seals deleted", "DELETE FROM events_seal", frozenset({(None, 2)}), only_with_kept=True)
    yield Act(
        "seals swapped",
        "UPDATE events_seal SET number = number + 2; UPDATE events_seal SET number = 5 - number",
        frozenset({(None, 1)}),
    )
