import asyncio
import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from servers.tenants import ONE, TWO

from postroom.db.pool import Database
from postroom.http.caller import MissingScope, Scope
from postroom.ids import new_public_id
from postroom.people import keys, store
from postroom.people.model import NoSuchKey, UnusableKeyFile

pytestmark = pytest.mark.usefixtures("tenants")


async def test_a_key_opens_the_door_of_its_tenant_only(db: Database) -> None:
    key, text = await keys.create(db, TWO, "crm", frozenset({Scope.READ}))

    caller = await keys.find(db, text)

    assert caller is not None
    assert (caller.tenant, caller.key_id, caller.scopes) == (TWO, key.public_id, frozenset({Scope.READ}))


async def test_a_copy_of_the_database_holds_no_usable_key(db: Database, dsn: str) -> None:
    _, text = await keys.create(db, ONE, "crm")
    conn = await asyncpg.connect(dsn)
    stored = str(await conn.fetch("SELECT * FROM postroom.people_key"))
    await conn.close()

    assert text not in stored
    assert text[: keys.SHOWN + 3] not in stored


async def test_keys_have_one_shape_and_all_their_bits() -> None:
    many = [keys.new_text() for _ in range(500)]

    assert all(keys.SHAPE.fullmatch(text) for text in many)
    assert len(set(many)) == 500
    assert len({text[-2] for text in many}) > 50
    assert 62**keys.LENGTH > 2**256


@pytest.mark.parametrize("text", ["", "pr_", "pr_" + "ä" * 43, "x" * 10_000, "pr_\0", "pr_" + "x" * 43])
async def test_what_is_not_a_key_is_nobodys(db: Database, text: str) -> None:
    assert await keys.find(db, text) is None


async def test_a_revoked_key_is_nobodys_at_once(db: Database) -> None:
    key, text = await keys.create(db, ONE, "crm")
    first = await keys.revoke(db, ONE, key.public_id)
    again = await keys.revoke(db, ONE, key.public_id)

    assert await keys.find(db, text) is None
    assert first.revoked_at == again.revoked_at is not None


async def test_an_expired_key_is_nobodys(db: Database) -> None:
    soon, past = (datetime.now(UTC) + timedelta(hours=hours) for hours in (1, -1))
    _, good = await keys.create(db, ONE, "a", expires_at=soon)
    _, bad = await keys.create(db, ONE, "b", expires_at=past)

    assert await keys.find(db, good)
    assert await keys.find(db, bad) is None


async def test_nobody_ends_or_sees_the_key_of_another_tenant(db: Database) -> None:
    key, text = await keys.create(db, TWO, "theirs")

    for stranger in (key.public_id, new_public_id()):
        with pytest.raises(NoSuchKey, match=r"^There is no such key\.$"):
            await keys.revoke(db, ONE, stranger)
    assert await keys.listed(db, ONE) == []
    assert await keys.find(db, text)


async def test_use_is_noted_once_a_minute(db: Database) -> None:
    key, text = await keys.create(db, ONE, "crm")
    seen = []
    for _ in range(3):
        await keys.find(db, text)
        async with db.transaction(ONE) as conn:
            found = await store.key(conn, ONE, key.public_id)
        assert found is not None
        seen.append(found.last_used_at)

    assert seen[0] is not None
    assert len(set(seen)) == 1


async def test_admin_includes_the_rest(db: Database) -> None:
    _, reads = await keys.create(db, ONE, "a", frozenset({Scope.READ}))
    _, rules = await keys.create(db, ONE, "b", frozenset({Scope.ADMIN}))
    reader, admin = await keys.find(db, reads), await keys.find(db, rules)

    assert reader
    assert admin
    admin.require(Scope.READ)
    with pytest.raises(MissingScope):
        reader.require(Scope.ADMIN)


async def test_the_first_key_waits_in_a_file_that_only_its_owner_reads(db: Database, tmp_path: Path) -> None:
    tenant = await keys.our_tenant(db)
    first = await keys.first_key(db, tenant, tmp_path)
    again = await keys.first_key(db, tenant, tmp_path)

    path = tmp_path / keys.FILE
    assert os.listdir(tmp_path) == [path.name]
    assert first.is_new
    assert not again.is_new
    assert path.read_text().strip() == first.text == again.text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert await keys.our_tenant(db) == tenant


async def test_processes_that_start_together_share_the_first_key(db: Database, tmp_path: Path) -> None:
    tenant = await keys.our_tenant(db)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(keys.first_key(db, tenant, tmp_path)) for _ in range(5)]

    (text,) = {task.result().text for task in tasks}
    assert await keys.find(db, text)
    good = [key for key in await keys.listed(db, tenant) if key.revoked_at is None]
    assert len(good) == 1


async def test_a_file_whose_key_is_no_longer_good_gets_a_new_one(db: Database, tmp_path: Path) -> None:
    tenant = await keys.our_tenant(db)
    (tmp_path / keys.FILE).write_bytes(b"\xff garbage")

    first = await keys.first_key(db, tenant, tmp_path)
    assert first.is_new
    caller = await keys.find(db, first.text)
    assert caller is not None
    assert caller.key_id is not None
    await keys.revoke(db, tenant, caller.key_id)

    assert (await keys.first_key(db, tenant, tmp_path)).text != first.text


async def test_remaking_the_first_key_ends_the_old_one(db: Database, tmp_path: Path) -> None:
    tenant = await keys.our_tenant(db)
    old = await keys.first_key(db, tenant, tmp_path)
    new = await keys.remake_first_key(db, tenant, tmp_path)

    assert await keys.find(db, old.text) is None
    assert await keys.find(db, new.text)
    assert (tmp_path / keys.FILE).read_text().strip() == new.text


async def test_a_key_file_that_cannot_be_had_is_one_clear_sentence(db: Database, tmp_path: Path) -> None:
    (tmp_path / keys.FILE).mkdir()

    with pytest.raises(UnusableKeyFile, match="cannot be read"):
        await keys.first_key(db, await keys.our_tenant(db), tmp_path)
