"""A process that lends connections of one account, again and again.

python -m providers.lending DSN HOST PORT USER PASSWORD TENANT ACCOUNT CEILING TASKS SECONDS

Says "up" when it is ready, "lent" each time that one is; each is used for so many seconds.
"""

import asyncio
import sys
from datetime import timedelta

from postroom.db.listen import open_hints
from postroom.db.pool import open_pool as open_database
from postroom.ids import AccountId, TenantId
from postroom.net.egress import Egress
from postroom.providers.imap.provider import ImapProvider
from postroom.providers.model import Login
from postroom.providers.pool import Pool, open_pool
from postroom.providers.slots import open_slots
from postroom.providers.target import Purpose, Target

LONG = timedelta(minutes=5)


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


async def main(arguments: list[str]) -> None:
    dsn, host, port, user, password, tenant, account, ceiling, tasks, seconds = arguments
    target = Target(TenantId(int(tenant)), AccountId(int(account)), host, 1)
    settings = {"host": host, "port": int(port), "security": "plain", "username": user}
    login = Login(user, settings, password)
    provider = ImapProvider(Egress(private_allowed=True))

    async def lend_for_ever(pool: Pool, purpose: Purpose) -> None:
        while True:
            async with pool.lend(target, provider.open(login), often=True, purpose=purpose) as mailbox:
                await mailbox.folders()
                say("lent")
                await asyncio.sleep(float(seconds))

    async with (
        open_database(dsn) as db,
        open_hints(db) as hints,
        open_slots(db, hints, ceiling=int(ceiling)) as slots,
        open_pool(hints, slots) as pool,
        asyncio.TaskGroup() as group,
    ):
        say("up")
        for _ in range(int(tasks)):
            group.create_task(lend_for_ever(pool, Purpose.COMMAND))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
