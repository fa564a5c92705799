"""Jobs for the tests of executors, as each of their processes runs them."""

import asyncio
from collections.abc import Mapping
from typing import Any

from postroom.errors import Broken, NeedsOwner
from postroom.jobs.attempt import Attempt, Handler


async def double(attempt: Attempt) -> Mapping[str, Any]:
    return {"twice": 2 * attempt.job.args["number"]}


async def hold(attempt: Attempt) -> None:
    """Until it is stopped."""
    attempt.progress(processed=3, total_estimate=10, items_found=1)
    await asyncio.Event().wait()


async def once(attempt: Attempt) -> None:
    """Hangs in its first try; every other comes through."""
    await attempt.say("ran")
    if attempt.job.attempts == 1:
        await hold(attempt)


async def turn(attempt: Attempt) -> None:
    await attempt.say("begins")
    await attempt.say("ends")


async def break_down(_attempt: Attempt) -> None:
    raise Broken("It is broken.")


async def ask_owner(_attempt: Attempt) -> None:
    raise NeedsOwner("A new password is needed.")


HANDLERS: Mapping[str, Handler] = {
    "test.double": double,
    "test.hold": hold,
    "test.once": once,
    "test.turn": turn,
    "test.break": break_down,
    "test.owner": ask_owner,
}
