"""Whoever believes every response, and nothing else, sees the folder as it is."""

import asyncio
import re

from hypothesis import given, settings
from hypothesis import strategies as st
from lab.talk import Talk, signed_in

from postroom.lab import LabFolder, serve

STEPS = st.lists(
    st.tuples(st.sampled_from(["deliver", "expunge", "flag", "NOOP", "FETCH", "STORE"]), st.integers(0, 9)),
    max_size=25,
)


class Believer:
    """A client that knows UIDs and flags from responses only."""

    def __init__(self, uids: list[int]) -> None:
        self.uids: list[int | None] = list(uids)
        self.flags: dict[int, str] = {}

    async def ask(self, client: Talk, command: str) -> None:
        for line in await client.ask(f"t {command}"):
            if match := re.match(r"\* (\d+) EXISTS", line):
                self.uids += [None] * (int(match[1]) - len(self.uids))
            elif match := re.match(r"\* (\d+) EXPUNGE", line):
                del self.uids[int(match[1]) - 1]
            elif match := re.match(r"\* (\d+) FETCH \(UID (\d+) FLAGS \((.*?)\)", line):
                self.uids[int(match[1]) - 1] = int(match[2])
                self.flags[int(match[2])] = match[3]


def change(folder: LabFolder, step: str, number: int) -> None:
    uids = list(folder.messages)
    if step == "deliver":
        folder.deliver(b"Subject: x\r\n\r\n")
    elif uids and step == "expunge":
        folder.expunge(uids[number % len(uids)])
    elif uids and step == "flag":
        folder.flag(uids[number % len(uids)], [f"k{number}"])


async def live(steps: list[tuple[str, int]]) -> None:
    async with serve(messages=4, folder_count=1) as server, signed_in(server, "INBOX") as client:
        folder = server.mailbox.folder("INBOX")
        believer = Believer(list(folder.messages))
        for step, number in steps:
            if step == "NOOP":
                await believer.ask(client, "NOOP")
            elif step == "FETCH":
                await believer.ask(client, "FETCH 1:* (UID FLAGS)")
            elif step == "STORE":
                await believer.ask(client, f"UID STORE {number} +FLAGS (s{number})")
            else:
                change(folder, step, number)
        await believer.ask(client, "NOOP")
        await believer.ask(client, "FETCH 1:* (UID FLAGS)")

        assert believer.uids == list(folder.messages)
        for uid, message in folder.messages.items():
            assert believer.flags[uid] == " ".join(sorted(message.flags))


@given(STEPS)
@settings(max_examples=40, deadline=None)
def test_responses_tell_the_whole_truth(steps: list[tuple[str, int]]) -> None:
    asyncio.run(live(steps))
