"""Says in one line each what `up` has seen happen: new mail, and accounts in trouble."""

import asyncio

from postroom.accounts.model import Account
from postroom.cli import screen
from postroom.cli.installation import Installation
from postroom.cli.sync import report
from postroom.ids import AccountId
from postroom.mail.reading import Filters, Order, Row, Sort
from postroom.mail.store import read
from postroom.sync.perform import Outcome

MOST = 5
"""Mails of one sync that are named."""


class Announcer:
    """Hears of every sync that ended and says what is new."""

    def __init__(self, house: Installation) -> None:
        self._house = house
        self._heard: asyncio.Queue[Outcome] = asyncio.Queue()
        self._trouble: dict[AccountId, str] = {}

    def hear(self, outcome: Outcome) -> None:
        """Never waits."""
        self._heard.put_nowait(outcome)

    async def run(self) -> None:
        """Speak until cancelled."""
        while True:
            outcome = await self._heard.get()
            if outcome.status != "busy":
                self._troubled(outcome)
            if outcome.counts.added and outcome.account.last_sync_at is None:
                report(outcome)  # the first copy is no news
            elif outcome.counts.added:
                await self._arrived(outcome.account, outcome.counts.added)

    def _troubled(self, outcome: Outcome) -> None:
        """Each trouble once, and once its end."""
        account = outcome.account
        code = outcome.error.code if outcome.error else ""
        before = self._trouble.get(account.id, "")
        self._trouble[account.id] = code
        if outcome.error and code != before:
            screen.warn(f"{screen.line(account.address)}: {screen.line(outcome.error.message)} [{code}]")
        elif before and not code:
            screen.say(f"{screen.line(account.address)}: in order again")

    async def _arrived(self, account: Account, added: int) -> None:
        house = self._house
        async with house.database.transaction(house.tenant) as conn:
            newest = await read.page(
                conn,
                house.tenant,
                Filters(account=account.id),
                Sort.DATE,
                Order.DESCENDING,
                limit=min(added, MOST),
            )
            rows = await read.rows(conn, house.tenant, [position.number for position in newest])
        if added > MOST:
            screen.say(f"{screen.line(account.address)}: {added:,} new messages, the latest:")
        for row in reversed(rows):
            screen.say(_line(row))


def _line(row: Row) -> str:
    return f"new mail  {screen.headline(row.sender.name or row.sender.address, row.subject)}"
