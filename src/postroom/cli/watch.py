"""`postroom watch`: mail as it arrives, and with --all whatever happens to mail, until Ctrl-C."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Annotated, Any
from uuid import UUID

import orjson
import typer

from postroom.accounts.model import Account
from postroom.cli import screen
from postroom.cli.installation import Installation, account_named, all_accounts, opened
from postroom.cli.options import Data, DatabaseUrl, command
from postroom.cli.run import carry_out
from postroom.cli.stopping import until_stopped
from postroom.db.model import Busy, Unreachable
from postroom.events import feed
from postroom.events.answers import out
from postroom.events.model import Entry, Place, Stream, stream_of
from postroom.mail.store.brief import Brief, briefs, paths
from postroom.settings import Settings

app = command()

AGAIN_SECONDS = 0.5
REMEMBERED = 1000  # messages that were shown: what was removed cannot be looked up any more

ARRIVED = "mail.added"
WORDS = {
    ARRIVED: "new mail",
    "mail.copied": "copied",
    "mail.moved": "moved",
    "mail.left": "left",
    "mail.flags_changed": "flags",
    "mail.removed": "removed",
}
"""What is shown, and how it is called."""


@app.command()
def main(
    account: Annotated[
        str | None, typer.Option("--account", metavar="ADDRESS", help="Only this account's.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also what is copied, moved, marked and removed.")
    ] = False,
    data: Data = None,
    database_url: DatabaseUrl = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write one line of JSON for each.")] = False,
) -> None:
    """Show mail as it arrives, until Ctrl-C. It is fetched by `postroom up`."""
    carry_out(
        lambda settings: _watch(settings, account, everything=everything, as_json=as_json),
        data,
        database_url,
        as_json=as_json,
    )


async def _watch(settings: Settings, address: str | None, *, everything: bool, as_json: bool) -> None:
    async with until_stopped(), opened(settings) as house:
        stream = stream_of((await account_named(house, address)).id) if address is not None else None
        async with house.database.transaction(house.tenant) as conn:
            place = await feed.end(conn, house.tenant)
        shown = Shown(house)
        await shown.learn_accounts()
        _begin(list(shown.accounts.values()))
        await _follow(shown, place, stream, WORDS.keys() if everything else {ARRIVED}, as_json=as_json)


def _begin(accounts: Sequence[Account]) -> None:
    if accounts:
        count = f"{len(accounts):,} mailboxes" if len(accounts) > 1 else screen.line(accounts[0].address)
        screen.warn(f"Waiting for mail of {count}. Ctrl-C ends this.")
    else:
        screen.warn("No mailbox is connected; `postroom connect you@example.com` connects one. Waiting.")


async def _follow(
    shown: "Shown", place: Place, stream: Stream | None, kinds: Iterable[str], *, as_json: bool
) -> None:
    """For ever. A database that is away is waited for, and nothing is missed."""
    house, is_away = shown.house, False
    while True:
        pages = feed.follow(house.database, house.hints, house.tenant, place, stream=stream)
        try:
            async with aclosing(pages):
                async for page in pages:
                    entries = [entry for entry in page if entry.kind in kinds and not _is_old(entry)]
                    await shown.learn(entries)
                    for entry in entries:
                        screen.say(shown.document(entry) if as_json else shown.text(entry))
                    place, is_away = feed.place_of(page[-1]), False
        except (Unreachable, Busy) as error:
            if not is_away:
                screen.warn(f"{error.message} Waiting for it.")
            is_away = True
        await asyncio.sleep(AGAIN_SECONDS)


def _is_old(entry: Entry) -> bool:
    """Whether it tells of mail that was there before its account was connected."""
    return "backfill" in orjson.loads(entry.body)


@dataclass(slots=True)
class Shown:
    """What is known of what events name: accounts, messages, folders."""

    house: Installation
    accounts: dict[Stream, Account] = field(default_factory=dict)
    _mails: dict[UUID, Brief] = field(default_factory=dict)
    _paths: Mapping[UUID, str] = field(default_factory=dict)

    async def learn_accounts(self) -> None:
        self.accounts = {stream_of(account.id): account for account in await all_accounts(self.house)}

    async def learn(self, entries: Sequence[Entry]) -> None:
        """What is to be known to show these."""
        if not entries:
            return
        if not self.accounts.keys() >= {entry.stream for entry in entries}:
            await self.learn_accounts()  # connected since
        data = [orjson.loads(entry.body) for entry in entries]
        messages = {UUID(one["message"]) for one in data}
        folders = {UUID(one[name]) for one in data for name in ("folder", "from") if name in one}
        house = self.house
        async with house.database.transaction(house.tenant) as conn:
            found = await briefs(conn, house.tenant, messages)
            self._paths = await paths(conn, house.tenant, folders)
        for message, brief in found.items():
            self._mails.pop(message, None)
            self._mails[message] = brief
        for message in list(self._mails)[: -max(REMEMBERED, len(found))]:
            del self._mails[message]

    def document(self, entry: Entry) -> str:
        """The event as `postroom events --json` writes it, and what it is about."""
        data = orjson.loads(entry.body)
        account, brief = self.accounts.get(entry.stream), self._brief(data)
        mail = None
        if brief is not None:
            sender = {"name": brief.sender.name, "address": brief.sender.address}
            mail = {"subject": brief.subject, "from": sender, "received_at": brief.received_at}
        told = {
            **out(entry, account.public_id if account else None),
            "address": account.address if account else None,
            "folder": self._path(data, "folder"),
            "mail": mail,
        }
        return orjson.dumps(told, default=str).decode()

    def text(self, entry: Entry) -> str:
        """`new mail  Ann: Lunch?  (INBOX of me@example.org, 12:01:07)`."""
        data = orjson.loads(entry.body)
        brief, account = self._brief(data), self.accounts.get(entry.stream)
        said = "(gone already)" if entry.kind == ARRIVED else f"(message {data['message']})"
        if brief is not None:
            said = screen.headline(brief.sender.name or brief.sender.address, brief.subject)
        if entry.kind == "mail.flags_changed":
            said += f"  [{screen.line(' '.join(data['flags']))}]"
        where = screen.line(account.address) if account else "an account that is gone"
        if path := self._path(data, "folder"):
            where = f"{screen.line(path)} of {where}"
        if came_from := self._path(data, "from"):
            where = f"{where}, from {screen.line(came_from)}"
        at = entry.at.astimezone()
        return f"{WORDS[entry.kind]:8}  {said}  ({where}, {at:%H:%M:%S})"

    def _brief(self, data: Mapping[str, Any]) -> Brief | None:
        return self._mails.get(UUID(data["message"]))

    def _path(self, data: Mapping[str, Any], name: str) -> str | None:
        return self._paths.get(UUID(data[name])) if name in data else None
