"""API keys: made, found by what somebody shows, ended; and the first one, kept in a file beside the data."""

import os
import re
import secrets
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from string import ascii_letters, digits
from uuid import UUID

from postroom.db.pool import Database
from postroom.http.caller import Caller, Scope
from postroom.ids import TenantId
from postroom.people import store
from postroom.people.model import Key, NoSuchKey, TooManyKeys, UnusableKeyFile

ALPHABET = digits + ascii_letters
LENGTH = 43  # 62**43 > 2**256
PREFIX = "pr_"
SHAPE = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{LENGTH}}}")
SHOWN = 9  # characters of a key that are kept for people to tell keys apart: `pr_` and 36 bits
EVERYTHING = frozenset(Scope)
OUR_TENANT = "default"
FILE = "api.key"
TOUCH_EVERY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class FirstKey:
    """The key in the file, and whether it has just been made."""

    text: str
    is_new: bool


def new_text(prefix: str = PREFIX) -> str:
    """A key nobody can guess: `pr_` and 256 random bits, in characters that a double click selects."""
    number = secrets.randbits(256)
    letters = []
    for _ in range(LENGTH):
        number, letter = divmod(number, len(ALPHABET))
        letters.append(ALPHABET[letter])
    return prefix + "".join(letters)


def digest_of(text: str) -> bytes:
    """What is stored of a key. Plain SHA-256: there is nothing to guess among 256 random bits."""
    return sha256(text.encode()).digest()


async def our_tenant(database: Database) -> TenantId:
    """The one tenant that this installation has, made at first use."""
    async with database.unbound() as conn:
        return await store.tenant_named(conn, OUR_TENANT)


async def create(
    database: Database,
    tenant: TenantId,
    name: str,
    scopes: frozenset[Scope] = EVERYTHING,
    expires_at: datetime | None = None,
    accounts: Collection[UUID] | None = None,
    *,
    is_first: bool = False,
) -> tuple[Key, str]:
    """A new key and its text, which nobody can ask for again.

    With `accounts` it is limited to these, and opens nothing once they are gone. Raises `NoSuchAccount`, and
    `TooManyKeys`, by which those who ask at once may get past by as many as they are, and the first key,
    which must never be wanting, always does.
    """
    text = new_text()
    async with database.transaction(tenant) as conn:
        if not is_first and await store.open_keys(conn, tenant) >= store.MOST_KEYS:
            raise TooManyKeys(
                f"There are {store.MOST_KEYS:,} keys already; revoke those that nobody uses any more."
            )
        key = await store.add_key(
            conn,
            tenant,
            name=name,
            start=text[:SHOWN],
            digest=digest_of(text),
            scopes=scopes,
            expires_at=expires_at,
            accounts=accounts,
        )
    return key, text


async def listed(database: Database, tenant: TenantId) -> list[Key]:
    async with database.transaction(tenant) as conn:
        return await store.keys(conn, tenant)


async def revoke(database: Database, tenant: TenantId, public_id: UUID) -> Key:
    """End a key at once. Raises `NoSuchKey`."""
    async with database.transaction(tenant) as conn:
        key = await store.revoke_key(conn, tenant, public_id)
    if key is None:
        raise NoSuchKey("There is no such key.")
    return key


async def find(database: Database, text: str) -> Caller | None:
    """Whose key this is; None for one that is unknown, revoked or expired."""
    if not SHAPE.fullmatch(text):
        return None
    async with database.single() as conn:
        holder = await store.find_key(conn, digest_of(text))
    if holder is None:
        return None
    if holder.last_used_at is None or datetime.now(UTC) - holder.last_used_at >= TOUCH_EVERY:
        async with database.transaction(holder.tenant) as conn:
            await store.touch_key(conn, holder.tenant, holder.key)
    return Caller(holder.tenant, holder.public_id, holder.scopes, accounts=holder.accounts)


async def first_key(database: Database, tenant: TenantId, data: Path) -> FirstKey:
    """The key in `<data>/api.key`, which only its owner can read; made when it is missing or no longer good.

    Two processes that start together end with one key in the file, and both return it. Raises
    `UnusableKeyFile`.
    """
    path = data / FILE
    kept = _read(path)
    if kept is not None and await _opens(database, tenant, kept):
        return FirstKey(kept, is_new=False)
    key, text = await create(database, tenant, "first key", is_first=True)
    if _write(path, text, replace=kept is not None):
        return FirstKey(text, is_new=True)
    await revoke(database, tenant, key.public_id)  # somebody else was quicker
    return FirstKey(_read(path) or text, is_new=False)


async def remake_first_key(database: Database, tenant: TenantId, data: Path) -> FirstKey:
    """Put a new key into the file and end the one that was there."""
    kept = _read(data / FILE)
    key, text = await create(database, tenant, "first key", is_first=True)
    _write(data / FILE, text, replace=True)
    if kept is not None:
        async with database.unbound() as conn:
            holder = await store.find_key(conn, digest_of(kept))
        if holder is not None and holder.tenant == tenant and holder.public_id != key.public_id:
            await revoke(database, tenant, holder.public_id)
    return FirstKey(text, is_new=True)


async def _opens(database: Database, tenant: TenantId, text: str) -> bool:
    caller = await find(database, text)
    return caller is not None and caller.tenant == tenant


def _read(path: Path) -> str | None:
    try:
        return path.read_text("ascii", "replace").strip()[:200]
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UnusableKeyFile(f"The key in {path} cannot be read: {error.strerror}.") from error


def _write(path: Path, text: str, *, replace: bool) -> bool:
    """Write a file of mode 0600 in one step, so that nobody ever reads half a key.

    False when there is one already that is not to be replaced.
    """
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        try:
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(text + "\n")
                file.flush()
                os.fsync(descriptor)
            if replace:
                os.replace(fresh, path)
            else:
                os.link(fresh, path)
        finally:
            with suppress(FileNotFoundError):
                fresh.unlink()
    except FileExistsError:
        return False
    except OSError as error:
        raise UnusableKeyFile(f"The key cannot be written to {path}: {error.strerror}.") from error
    return True
