"""A damaged copy, mended by one call."""

import asyncio

import asyncpg

from .conftest import Cli, Lab

ADDRESS = "robin@lab.example"
DAMAGE = """
    SET search_path = postroom;
    DELETE FROM mail_placement WHERE uid = 3;
    UPDATE mail_placement SET flags = '{$Odd}' WHERE uid = 4
"""


async def damage(dsn: str) -> None:
    conn = await asyncpg.connect(dsn)
    await conn.execute(DAMAGE)
    await conn.close()


def test_a_damaged_copy_is_found_mended_and_equal_afterwards(cli: Cli, lab: Lab) -> None:
    words = ("--server", lab("--messages", "8"), "--starttls", "off", "--password-file", "-")
    cli("connect", ADDRESS, *words, stdin="open sesame\n")
    cli("sync")
    asyncio.run(damage(cli.options["POSTROOM_DATABASE_URL"]))

    found = cli("verify", ADDRESS)
    mended = cli("verify", ADDRESS, "--repair")
    again = cli("verify", ADDRESS, "--repair", "--json")

    assert found.status == 1
    assert "missing 1  extra 0  flags 1" in found.out
    assert mended.status == 0
    assert mended.out.startswith("~ INBOX: repaired missing 1  extra 0  flags 1\n")
    assert mended.out.endswith("equal to the server\n")
    assert (again.status, again.json["repaired"]) == (0, [])
