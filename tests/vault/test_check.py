"""Whoever has not got the key of a database is told so before it does anything."""

import asyncio

import asyncpg
import pytest

from postroom.db.pool import Database
from postroom.vault.check import check
from postroom.vault.model import Damaged, WrongKey
from postroom.vault.seal import Key, Vault

OLD, NEW, OTHER = (Key.derived(name * 8) for name in (b"old", b"new", b"other"))


async def tried(db: Database, *keys: Key) -> None:
    async with db.unbound() as conn:
        await check(conn, Vault(keys))


async def test_the_first_key_of_a_database_is_the_right_one(db: Database) -> None:
    await tried(db, OLD)
    await tried(db, OLD)

    with pytest.raises(WrongKey) as error:
        await tried(db, OTHER)
    assert "POSTROOM_SECRET_KEY" in error.value.message
    await tried(db, OLD)


async def test_a_key_is_changed_in_steps_and_an_old_one_is_right_until_a_new_one_seals(db: Database) -> None:
    await tried(db, OLD)
    await tried(db, OLD, NEW)  # everywhere, one process after the other
    await tried(db, OLD)
    await tried(db, NEW, OLD)  # then in front
    await tried(db, OLD, NEW)
    await tried(db, NEW, OLD)
    await tried(db, NEW)

    with pytest.raises(WrongKey):
        await tried(db, OLD)


async def test_of_two_keys_that_come_first_at_once_one_is_right_and_everybody_knows_which(
    db: Database, dsn: str
) -> None:
    superuser = await asyncpg.connect(dsn)
    for _ in range(10):
        keys = [OLD, OTHER] * 4
        came = await asyncio.gather(*(tried(db, key) for key in keys), return_exceptions=True)
        right = {key.id for key, error in zip(keys, came, strict=True) if error is None}
        wrong = {key.id for key, error in zip(keys, came, strict=True) if isinstance(error, WrongKey)}
        assert (len(right), len(wrong), right & wrong) == (1, 1, set())
        await superuser.execute("DELETE FROM postroom.vault_check")  # as where a key is lost for good
    await superuser.close()


async def test_a_row_that_was_changed_makes_no_key_the_right_one(db: Database, dsn: str) -> None:
    await tried(db, OLD)
    superuser = await asyncpg.connect(dsn)
    await superuser.execute("UPDATE postroom.vault_check SET sealed = left(sealed, -4) || 'AAAA'")
    await superuser.close()

    with pytest.raises(Damaged):
        await tried(db, OLD)
