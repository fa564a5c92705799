"""Sessions beside an account's own: which there are, and what becomes of them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest
from servers.tenants import ANNS, ONE

from postroom.lab.server import LabServer, serve
from postroom.net.egress import Egress
from postroom.providers import further as further_module
from postroom.providers import kept
from postroom.providers.further import Chosen, Further
from postroom.providers.imap.provider import ImapProvider
from postroom.providers.kept import Began, Opening, Session
from postroom.providers.model import Login, RemoteFolder
from postroom.providers.target import Key, Target

PROVIDER = ImapProvider(Egress(private_allowed=True))
TARGET = Target(ONE, ANNS, "127.0.0.1", 1)


@dataclass
class House:
    """An account whose own session listens to its inbox, and those beside it."""

    server: LabServer
    began: Began
    room: int = 100
    stands: bool = True
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    opened: list[Session] = field(default_factory=list)
    closed: list[Session] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.further = Further(lambda _: self.stands, self._hear, self.closed.append)

    def _hear(self, _key: Key) -> None:
        self.heard.set()

    def opening(self) -> Opening:
        settings = {"host": self.server.host, "port": self.server.port, "security": "plain"}
        return PROVIDER.open(Login(self.server.address, settings, self.server.password))

    async def begin(self, target: Target, opening: Opening) -> Session | None:
        if len(self.opened) - len(self.closed) >= self.room:
            return None
        session = Session(target, lambda _, opening: opening)
        self.opened.append(session)
        await session.begin(opening)
        return session

    async def mind(self, *paths: str, target: Target = TARGET) -> None:
        chosen = Chosen(lambda path: path in paths, self.opening)
        await self.further.mind(target, self.began, chosen, self.begin)

    @property
    def watched(self) -> set[str]:
        return {name.decode() for name in self.further.of(TARGET.key)}

    async def until_told(self) -> None:
        self.further.looked(TARGET.key)
        self.heard.clear()
        self.server.mailbox.deliver(b"Subject: sent\r\n\r\nhello", "Sent")
        async with asyncio.timeout(20):
            await self.heard.wait()


@asynccontextmanager
async def at_lab(offers: str = "plain") -> AsyncIterator[House]:
    async with serve(messages=5, folder_count=4, offers=offers) as server:
        house = House(server, Began(None, missed=False, folders=()))
        async with house.opening() as own:
            folders: Sequence[RemoteFolder] = await own.folders()
            folders = sorted(folders, key=lambda folder: folder.path != "INBOX")
            house.began = Began(await own.watch(folders, lambda _: None), missed=False, folders=folders)
            try:
                yield house
            finally:
                for session in house.opened:
                    await session.stack.aclose()


async def test_each_chosen_folder_is_told_of_again_and_again_by_a_session_of_its_own() -> None:
    async with at_lab() as house:
        await house.mind("Sent", "Archive", "INBOX")
        assert house.watched == {"Sent", "Archive"}
        for _ in range(3):
            await house.until_told()
        await house.mind("Sent", "Archive", "INBOX")

        assert (len(house.opened), house.closed) == (2, [])


async def test_when_one_begins_the_account_is_looked_at_once_more() -> None:
    async with at_lab() as house:
        await house.mind("Sent")
        assert house.heard.is_set()
        house.heard.clear()
        await house.mind("Sent")

        assert not house.heard.is_set()


async def test_where_a_server_tells_of_all_folders_no_further_session_is_opened() -> None:
    async with at_lab("notify") as house:
        await house.mind("Sent")

        assert (house.watched, house.opened) == (set(), [])


async def test_there_are_only_as_many_as_there_is_room_for() -> None:
    async with at_lab() as house:
        house.room = 1
        await house.mind("Sent", "Archive")
        assert len(house.watched) == 1
        house.room = 2
        await house.mind("Sent", "Archive")

        assert len(house.watched) == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda house: house.mind("Archive"),
        lambda house: house.mind("Sent", "Archive", target=replace(TARGET, version=2)),
    ],
    ids=["another choice", "other credentials"],
)
async def test_one_that_will_not_do_any_more_is_closed(
    change: Callable[[House], asyncio.Future[None]],
) -> None:
    async with at_lab() as house:
        await house.mind("Sent")
        await change(house)

        assert house.closed == house.opened[:1]
        assert house.watched >= {"Archive"}


async def test_one_that_has_died_in_silence_is_closed_and_opened_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(further_module, "QUIET", -1.0)
    monkeypatch.setattr(kept, "ANSWER", 0.2)
    async with at_lab() as house:
        await house.mind("Sent")
        house.server.faults.switch_on("done-unanswered")
        await house.further.ask(TARGET.key)
        assert (house.watched, house.closed) == (set(), house.opened)
        house.server.faults.switch_off("done-unanswered")
        await house.mind("Sent")
        await house.until_told()


async def test_a_folder_that_cannot_be_opened_is_not_asked_for_again_at_once() -> None:
    async with at_lab() as house:
        house.server.faults.switch_on("select-fails")
        await house.mind("Sent")
        await house.mind("Sent")

        assert (house.watched, len(house.opened), house.closed) == (set(), 1, house.opened)


async def test_the_youngest_gives_way_to_who_waits_for_a_slot() -> None:
    async with at_lab() as house:
        await house.mind("Sent")
        await house.mind("Sent", "Archive")

        assert house.further.give_way(TARGET.key)
        assert house.watched == {"Sent"}
        assert house.further.give_way(TARGET.key)
        assert not house.further.give_way(TARGET.key)
        assert house.closed == house.opened[::-1]


async def test_they_end_with_the_accounts_own_session_and_come_back_later() -> None:
    async with at_lab() as house:
        await house.mind("Sent")
        house.further.drop(TARGET.key)
        await house.mind("Sent")
        assert (house.watched, house.closed) == (set(), house.opened)


async def test_one_that_was_opened_too_late_is_closed() -> None:
    async with at_lab() as house:
        house.stands = False
        await house.mind("Sent")

        assert (house.watched, house.closed) == (set(), house.opened)
