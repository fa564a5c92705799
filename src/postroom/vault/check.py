"""Finds out, before any secret is needed, whether a process has the key that seals those of its database."""

from asyncpg import Connection

from postroom.ids import TenantId
from postroom.vault import store
from postroom.vault.model import Damaged, Slot, WrongKey
from postroom.vault.seal import Vault

SLOT = Slot(TenantId(0), 1, "vault_check.sealed")
WORD = b"postroom"


async def check(conn: Connection, vault: Vault) -> None:
    """Raises `WrongKey` or `Damaged`. The first process of a database decides which key is the right one.

    The row is sealed again by whoever comes with a newer key in front of the one that it was sealed with.
    """
    sealed = await store.read(conn)
    if sealed is None:
        await store.write(conn, vault.seal(WORD, SLOT))
        sealed = await store.read(conn) or ""
    try:
        vault.open(sealed, SLOT)
    except WrongKey as error:
        raise WrongKey(
            "This process has not got the key that seals the secrets of this database; give it the "
            "POSTROOM_SECRET_KEY, or the file secret.key, that the others have.",
            **error.data,
        ) from error
    except Damaged as error:
        raise Damaged(
            "What tells the right key of this database was changed; restore the table postroom.vault_check.",
            **error.data,
        ) from error
    if not vault.is_current(sealed):
        await store.replace(conn, sealed, vault.seal(WORD, SLOT))
