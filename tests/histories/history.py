"""One account's history: others change the mailbox, syncs run and die, and quiet points judge the copy.

Everything is chosen by numbers from outside, so that Hypothesis, or a seed, decides what happens.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import count
from typing import NoReturn

from histories import stored
from histories.labels import LabelWorld
from histories.model import World
from histories.sides import LabSide, Side
from servers.mailbox import Refused

from postroom.accounts.model import Account
from postroom.db.pool import Database
from postroom.events.replay import ImpossibleHistory
from postroom.lab.names import encode_name

TRIES = 4  # syncs that nothing disturbs, after which a copy that is not equal is wrong
PATIENCE_SECONDS = 120  # after which a sync that nothing disturbs is wedged
NAMES = ("Work", "Lists", "Lists/Python", "Größe", "請求書", "Old mail", "Lists/Python/日本")
FLAGS = ("\\Seen", "\\Flagged", "\\Answered", "\\Draft", "Later", "$Forwarded")
MOST = 60  # messages in a mailbox


class Unlike(AssertionError):
    """The model is not what the server holds, so that nothing can be judged by it: a fault of these tests."""


class Wrong(AssertionError):
    """The copy is not what it must be at a quiet point. `kind` is how it is counted."""

    def __init__(self, kind: str, reasons: Sequence[str], story: Sequence[str]) -> None:
        self.kind = kind
        super().__init__("\n".join([f"{kind}:", *reasons[:8], "after:", *story]))


@dataclass(slots=True)
class Faults:
    """How often something was done to a sync that it had not ended before."""

    by_kind: dict[str, int] = field(default_factory=dict)

    def add(self, kind: str) -> None:
        self.by_kind[kind] = self.by_kind.get(kind, 0) + 1

    @property
    def total(self) -> int:
        return sum(self.by_kind.values())


class History:
    """The mailbox, its model, and its copy, which `judge` is a way to look at that nothing cuts off."""

    def __init__(self, side: Side, world: World, judge: Database, account: Account) -> None:
        self._side, self.world, self._judge, self._account = side, world, judge, account
        self._made = count(1)
        self.faults = Faults()
        self.story: list[str] = []
        self.full = False

    async def undisturbed(self) -> str | None:
        """One sync that nothing disturbs, with no grace; what is wrong with it, if anything."""
        raise NotImplementedError

    # What others do. Numbers choose among what there is; what cannot be done is left.

    async def deliver(self, where: int, what: int, flags: frozenset[str]) -> None:
        """`what` 0 to 3: a new mail; 4, 5: one that lies somewhere; 6: a known Message-ID; 7: none."""
        if sum(len(folder.mails) for folder in self.world.folders.values()) >= MOST:
            return
        name, raw = self._name(where), self._content(what)
        self._tell(f"deliver {raw[:30]!r} to {name} {sorted(flags)}")
        await self._side.deliver(name, raw, flags)
        self.world.deliver(name, raw, flags)

    async def flag(self, where: int, which: int, flags: frozenset[str]) -> None:
        if (found := self._mail(where, which)) is not None:
            self._tell(f"flag {found} {sorted(flags)}")
            await self._side.flag(*found, flags)
            self.world.flag(*found, flags)

    async def expunge(self, where: int, which: int) -> None:
        if (found := self._mail(where, which)) is not None:
            self._tell(f"expunge {found}")
            await self._side.expunge(*found)
            self.world.expunge(*found)

    async def move(self, where: int, which: int, to: int) -> None:
        found, target = self._mail(where, which), self._name(to)
        if found is not None and found[0] != target:
            self._tell(f"move {found} to {target}")
            await self._side.move(*found, target)
            self.world.move(*found, target)

    async def copy(self, where: int, which: int, to: int) -> None:
        found, target = self._mail(where, which), self._name(to)
        if found is not None and found[0] != target:
            self._tell(f"copy {found} to {target}")
            await self._side.copy(*found, target)
            self.world.copy(*found, target)

    async def create(self, name: int) -> None:
        new = NAMES[name % len(NAMES)]
        if new not in self.world.folders:
            self._tell(f"create {new}")
            with suppress(Refused):
                await self._side.create(new)
                self.world.create(new)

    async def delete(self, where: int) -> None:
        if (name := self._other(where)) is not None:
            self._tell(f"delete {name}")
            await self._side.delete(name)
            self.world.delete(name)

    async def rename(self, where: int, to: int) -> None:
        name, new = self._other(where), NAMES[to % len(NAMES)]
        taken = [one for one in self.world.folders if one == new or one.startswith(f"{new}/")]
        if name is not None and not taken and not new.startswith(f"{name}/"):
            self._tell(f"rename {name} to {new}")
            with suppress(Refused):  # what was deleted may have left a name that holds no mail
                await self._side.rename(name, new)
                self.world.rename(name, new)

    async def renumber(self, where: int) -> None:
        name = self._name(where)
        self._tell(f"renumber {name}")
        await self._side.renumber(name)
        self.world.renumber(name)

    def _name(self, where: int) -> str:
        names = list(self.world.folders)
        return names[where % len(names)]

    def _other(self, where: int) -> str | None:
        """A folder that may go: none of those that the server makes by itself."""
        names = [name for name in self.world.folders if name in NAMES]
        return names[where % len(names)] if names else None

    def _mail(self, where: int, which: int) -> tuple[str, int] | None:
        names = [name for name, folder in self.world.folders.items() if folder.mails]
        if not names:
            return None
        name = names[where % len(names)]
        return name, which % len(self.world.folders[name].mails)

    def _content(self, what: int) -> bytes:
        number = next(self._made)
        known = sorted({mail.raw for _, mail in self.world.placed()})
        if what in {4, 5} and known:
            return known[number % len(known)]
        ids = {6: b"Message-ID: <same@history.example>\r\n", 7: b""}
        own = b"Message-ID: <%d@history.example>\r\n" % number
        body = b"x" * (number * 37 % 700)
        return b"Subject: %d\r\n%sFrom: a@b.example\r\n\r\n%s\r\n" % (number, ids.get(what, own), body)

    def _tell(self, said: str) -> None:
        self.story.append(said)

    # What must be true

    async def settle(self, *, full: bool = False) -> None:
        """A quiet point: nobody disturbs, and the copy becomes equal and stays as it is. Raises `Wrong`.

        `full` after a server that lied: deltas are hints, and only a full comparison is the truth.
        """
        self._tell("quiet point")
        self.full = full
        trouble = await self._patiently()
        for _ in range(TRIES):
            if trouble is None and not await self._differences():
                break
            trouble = await self._patiently()
        if trouble is not None:
            self._fail("wedged", [trouble])
        for kind, reason in await self._differences():
            self._fail(kind, [reason])
        copy = await stored.stored(self._judge, self._account)
        await self._judge_copy(copy)
        self.full = False
        await self._judge_silence(copy)

    async def _patiently(self) -> str | None:
        await stored.let_time_pass(self._judge, self._account)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await self.undisturbed()
        except TimeoutError:
            self._fail("wedged", [f"a sync that nothing disturbs took more than {PATIENCE_SECONDS} s"])

    async def _differences(self) -> list[tuple[str, str]]:
        """Between the server and the copy: how each is counted, and a sentence."""
        copy = await stored.stored(self._judge, self._account)
        theirs = {}
        for name in await self._side.names():
            seen = await self._side.seen(name)
            expected = [(mail.flags, mail.raw) for mail in self.world.folders[name].mails]
            if (found_there := [seen[uid] for uid in sorted(seen)]) != expected:
                said = [f"{name} holds {found_there}", f"and not {expected}", *self.story]
                raise Unlike("\n".join(said))
            for uid, (flags, raw) in seen.items():
                theirs[encode_name(name), uid] = (flags, sha256(raw).hexdigest())
        ours = {place: (flags, digest) for place, (flags, digest, _) in copy.mails.items()}
        found = [("lost", f"{place} is not in the copy") for place in theirs.keys() - ours.keys()]
        found += [("invented", f"{place} is not on the server") for place in ours.keys() - theirs.keys()]
        for place in theirs.keys() & ours.keys():
            if theirs[place] != ours[place]:
                found.append(("invented", f"{place} is {ours[place]}, and on the server {theirs[place]}"))
        if gone := copy.messages - {public_id for _, _, public_id in copy.mails.values()}:
            found.append(("invented", f"{sorted(gone)} lie nowhere"))
        if copy.folders.keys() != {encode_name(name) for name in self.world.folders}:
            found.append(("invented", f"the folders are {sorted(copy.folders)}"))
        return found

    async def _judge_copy(self, copy: stored.Stored) -> None:
        places = {name: copy.ids().get(encode_name(name), []) for name in self.world.folders}
        folder_ids = {name: copy.folders[encode_name(name)] for name in self.world.folders}
        if reasons := self.world.judge(places, folder_ids):
            self._tell("the log of these, and the folders:")
            self.story += await stored.told_of(self._judge, self._account, " ".join(reasons))
            self.story += map(str, folder_ids.items())
            self._fail("repeated", reasons)
        if reasons := await stored.wrong_bytes(self._judge, copy):
            self._fail("lost", reasons)
        try:
            reasons = await stored.wrong_log(self._judge, self._account, copy)
        except ImpossibleHistory as error:
            reasons = [error.message]
        if reasons:
            self._fail("repeated", reasons)

    async def _judge_silence(self, copy: stored.Stored) -> None:
        """A further sync writes nothing and tells nothing."""
        before = await stored.written(self._judge, self._account)
        if (trouble := await self._patiently()) is not None:
            self._fail("wedged", [trouble])
        after = await stored.written(self._judge, self._account)
        if before != after:
            self._fail("repeated", [f"a further sync wrote {sorted(map(str, after ^ before))}"])
        assert await stored.stored(self._judge, self._account) == copy

    def _fail(self, kind: str, reasons: Sequence[str]) -> NoReturn:
        raise Wrong(kind, reasons, self.story)


async def world_of(side: Side) -> World:
    """The model of what is there now."""
    if isinstance(side, LabSide) and side.server.mailbox.labels is not None:
        return LabelWorld(side.server.mailbox)
    world = World(await side.names())
    for name in world.folders:
        for _, (flags, raw) in sorted((await side.seen(name)).items()):
            world.deliver(name, raw, flags)
    return world
