"""A copy of a lab server that misbehaves in several ways at once, and what must hold nevertheless.

healthy or not yet copied ──> faults on ──> the mailbox changes, syncs ──> faults off ──> one more sync
                                              nothing wrong, no silence          equal
"""

import asyncio
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, aclosing, contextmanager
from dataclasses import dataclass
from random import Random

import pytest
from servers.tenants import ONE
from sync.lab import (
    assert_equal,
    assert_no_silence,
    assert_nothing_wrong,
    connected,
    messages,
    retry_parked,
    sync,
)
from sync.mailboxes import told

from postroom.accounts.model import Account
from postroom.db.pool import Database
from postroom.events.replay import replay
from postroom.lab.certificate import Certificate
from postroom.lab.faults import FAULTS
from postroom.lab.offers import EXTENSIONS, PRESETS
from postroom.lab.server import LabServer, serve
from postroom.lab.session import WINDOW
from postroom.providers.imap import conversation, provider
from postroom.providers.imap import folder as imap_folder
from postroom.providers.pool import Pool

STARTTLS = {"starttls-breaks-off", "preauth", "starttls-injection", "starttls-stripped", "starttls-no"}
GONE = {"vanishing-folder", "folder-recreated", "gone-in-fetch"}  # what these take away is really gone
# Nobody who sees such a server for the first time can know that there is more.
UNKNOWABLE = {"newest-only", "list-forgets", "folder-looks-empty", "validity-changes-empty"}
# What these said was not so, and no number tells that they say something else now.
UNNOTICEABLE = {"flags-odd", "modseq-early"}
OF_GMAIL = {"labels-silent", "labels-odd", "ids-nil"}
STALLS = {"stall-in-literal", "literal-long"}
SWAPPED = {"folders-swap"}
NO_VALIDITY = {"validity-missing", "validity-zero", "validity-garbage"}
LONGEST = 240  # seconds for one sync, in which nothing may hang

PLACED = """
    SELECT m.public_id::text AS message, f.public_id::text AS folder, p.flags
      FROM mail_placement p
      JOIN mail_folder f ON f.id = p.folder_id
      JOIN mail_message m ON m.id = p.message_id
     WHERE f.account_id = $1
"""


@dataclass(frozen=True, slots=True)
class Trial:
    """What a server offers, how it misbehaves, whether it did so from the beginning, and whether its sessions
    are kept from one sync to the next.
    """

    faults: tuple[str, ...]
    offers: tuple[str, ...] = ()
    from_the_first: bool = True
    keeps: bool = False
    messages: int = 60
    folders: int = 4

    @classmethod
    def of(cls, seed: str) -> "Trial":
        """Three faults at random, in one of the three modes; the same for the same seed."""
        rng = Random(seed)
        extensions = [name for name in EXTENSIONS if rng.random() < 0.25]
        return cls(
            faults=tuple(sorted(rng.sample(sorted(FAULTS), 3))),
            offers=(rng.choice(sorted(PRESETS)), *extensions),
            from_the_first=rng.random() < 0.5,
            keeps=rng.random() < 0.5,
            messages=24,
            folders=3,
        )

    def among(self, names: set[str]) -> bool:
        return not names.isdisjoint(self.faults)

    def served(self, certificate: Certificate) -> AbstractAsyncContextManager[LabServer]:
        return serve(
            messages=self.messages,
            folder_count=self.folders,
            offers=self.offers,
            certificate=certificate,
            faults=self.faults if self.from_the_first else (),
        )


@contextmanager
def impatience(trial: Trial) -> Iterator[None]:
    """Nobody waits a minute for silence that is sure to come; and a window of old mail is a small one."""
    with pytest.MonkeyPatch.context() as patch:
        if trial.among({"greeting-late"}):
            patch.setattr(provider, "GREETING", 0.05)
        if trial.among(STALLS):
            patch.setattr(conversation, "SILENCE", 0.3)
        patch.setattr(imap_folder, "SHOWN_AT_MOST", WINDOW)
        yield


async def survive(db: Database, certificate: Certificate, trial: Trial) -> None:
    """Play a trial. Raises AssertionError for what a copy must never be."""
    # Who tells at login what server it is, is not another one in the same session.
    kept = Pool(1 if trial.keeps and not trial.among({"newest-only"}) else 0)
    async with trial.served(certificate) as server, aclosing(kept):
        security = {"security": "starttls", "ca_file": str(certificate.certificate)}
        settings = security if trial.among(STARTTLS) else {}
        account = await connected(db, server, address=f"robin@{server.port}.example", **settings)
        if not trial.from_the_first:
            await _synced(db, account, kept)
        before = await messages(db, account)
        with impatience(trial):
            server.faults.switch_on(*trial.faults)
            await _endure(db, account, server, trial, kept)
        server.faults.switch_off(*trial.faults)
        await retry_parked(db)
        await _synced(db, account, kept, full=trial.among(UNNOTICEABLE))
        await assert_equal(db, account, server)
        await _assert_told(db, account)
        if not trial.among(GONE):
            assert before <= await messages(db, account)
            assert "mail.removed" not in {entry.kind for entry in await told(db, account)}


async def _endure(db: Database, account: Account, server: LabServer, trial: Trial, kept: Pool) -> None:
    before = await messages(db, account)
    for _ in range(2):
        if before:
            _change(server)
        async with asyncio.timeout(LONGEST):
            outcome = await sync(db, account, kept=kept)
        if trial.among(GONE | SWAPPED) and trial.among(NO_VALIDITY):
            continue  # a removal that such a server cannot prove is not followed
        if trial.among(GONE | SWAPPED) and (outcome.status != "success" or outcome.counts.skipped):
            continue  # the mailbox is another one now, and the copy is still what it was
        await assert_nothing_wrong(db, account, server)
        if before or not trial.among(UNKNOWABLE):
            await assert_no_silence(db, account, server, outcome)
        assert trial.among(GONE) or before <= await messages(db, account)


def _change(server: LabServer) -> None:
    """Other flags for one message of each folder, and a new mail."""
    for folder in list(server.mailbox.folders.values()):
        if uid := next(iter(folder.messages), None):
            folder.flag(uid, {"\\Flagged", "$Later"} - folder.messages[uid].flags)
    server.arrive()


async def _synced(db: Database, account: Account, kept: Pool, *, full: bool = False) -> None:
    """One sync that comes to its end."""
    async with asyncio.timeout(LONGEST):
        outcome = await sync(db, account, full=full, kept=kept)
    assert (outcome.status, outcome.counts.skipped) == ("success", []), outcome.error


async def _assert_told(db: Database, account: Account) -> None:
    """The log, replayed from its beginning, is what is stored."""
    stored: dict[str, dict[str, frozenset[str]]] = {}
    async with db.transaction(ONE) as conn:
        for row in await conn.fetch(PLACED, account.id):
            stored.setdefault(row["message"], {})[row["folder"]] = frozenset(row["flags"])
    assert replay(await told(db, account)).messages == stored
