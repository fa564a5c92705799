"""A process that wants an access token whenever it is told a line: arguments are a DSN and an account."""

import asyncio
import sys

from servers.bearing import OAUTH, VAULT
from servers.tenants import ONE

from postroom import telemetry
from postroom.accounts import credentials, store
from postroom.accounts.model import Account
from postroom.accounts.oauth import Oauth
from postroom.accounts.tokens import Tokens
from postroom.db.pool import Database, open_pool
from postroom.errors import PostroomError
from postroom.ids import AccountId
from postroom.vault.model import Secret


async def access(db: Database, account: Account, *, refused: str | None = None, oauth: Oauth = OAUTH) -> str:
    """As a sync would."""
    async with db.transaction(ONE) as conn:
        today = await store.get_by_id(conn, ONE, account.id)
        sealed = await store.secret(conn, ONE, account.id)
    grant = credentials.unseal_grant(VAULT, today, sealed)
    tokens = Tokens(db, VAULT, oauth)
    token = await tokens.access(today, grant, refused=Secret(refused) if refused else None)
    return token.reveal()


async def main(dsn: str, account: str) -> None:
    telemetry.set_up()
    async with open_pool(dsn) as db:
        async with db.transaction(ONE) as conn:
            found = await store.get_by_id(conn, ONE, AccountId(int(account)))
        say("ready")
        for _ in sys.stdin:
            try:
                say(await access(db, found))
            except PostroomError as error:
                say(error.code)


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
