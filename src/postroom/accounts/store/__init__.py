"""All SQL over accounts. The sealed secret is read by two functions only: `secret`, `begin_sync`."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any
from uuid import UUID

from asyncpg import Connection, Record

from postroom.accounts.model import (
    DUE,
    NOT_THROTTLED,
    Account,
    AccountState,
    NoSuchAccount,
    Scope,
    Throttle,
)
from postroom.db.pool import hint
from postroom.ids import AccountId, TenantId

COLUMNS = """
    tenant_id, id, public_id, address, provider, settings, scope, state, reason, poll_every, next_sync_at,
    sync_started_at, last_sync_at, last_sync_status, last_sync_error, sync_count, failures, verified_fresh_at,
    compared_at, stale_at, credentials_version, created_at, refusals, retry_at,
    CASE WHEN throttled_until > now() THEN throttled_until END AS throttled_until,
    CASE WHEN throttled_until > now() THEN throttled_by END AS throttled_by
"""

ADD = f"""
    INSERT INTO accounts_account
           (tenant_id, public_id, address, provider, settings, secret, scope, poll_every)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    ON CONFLICT (tenant_id, address) DO NOTHING
    RETURNING {COLUMNS}
"""  # noqa: S608  constants only


async def add(
    conn: Connection,
    tenant: TenantId,
    public_id: UUID,
    *,
    address: str,
    provider: str,
    settings: Mapping[str, Any],
    secret: str | None,
    scope: Scope,
    poll_every: timedelta | None = None,
) -> Account | None:
    """The new account, due at once; None if the address is connected already. `secret` is sealed."""
    row = await conn.fetchrow(
        ADD, tenant, public_id, address, provider, dict(settings), secret, _scope_json(scope), poll_every
    )
    hint(conn, DUE)
    return account_of(row) if row else None


GET = f"SELECT {COLUMNS} FROM accounts_account WHERE tenant_id = $1 AND public_id = $2"  # noqa: S608


async def get(conn: Connection, tenant: TenantId, public_id: UUID) -> Account:
    """Raises `NoSuchAccount`."""
    return account_of(_found(await conn.fetchrow(GET, tenant, public_id)))


GET_BY_ID = f"SELECT {COLUMNS} FROM accounts_account WHERE tenant_id = $1 AND id = $2"  # noqa: S608


async def get_by_id(conn: Connection, tenant: TenantId, account: AccountId) -> Account:
    """Raises `NoSuchAccount`."""
    return account_of(_found(await conn.fetchrow(GET_BY_ID, tenant, account)))


LOCK = f"{GET_BY_ID} FOR NO KEY UPDATE"


async def lock(conn: Connection, tenant: TenantId, account: AccountId) -> Account:
    """As it is until the end of the transaction, unless this one changes it. Raises `NoSuchAccount`."""
    return account_of(_found(await conn.fetchrow(LOCK, tenant, account)))


FIND = f"SELECT {COLUMNS} FROM accounts_account WHERE tenant_id = $1 AND address = $2"  # noqa: S608


async def find(conn: Connection, tenant: TenantId, address: str) -> Account | None:
    """By address, as `guess.normal_address` writes it."""
    row = await conn.fetchrow(FIND, tenant, address)
    return account_of(row) if row else None


LIST = f"""
    SELECT {COLUMNS} FROM accounts_account
     WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3
"""  # noqa: S608


async def list_after(
    conn: Connection, tenant: TenantId, after: AccountId | None = None, limit: int = 1000
) -> list[Account]:
    """In the order in which they were connected."""
    return [account_of(row) for row in await conn.fetch(LIST, tenant, after or 0, limit)]


PUBLIC_IDS = "SELECT id, public_id FROM accounts_account WHERE tenant_id = $1 AND id = ANY($2)"


async def public_ids(
    conn: Connection, tenant: TenantId, accounts: Sequence[AccountId]
) -> dict[AccountId, UUID]:
    """What these are called outside; without those that are gone."""
    return {AccountId(row[0]): row[1] for row in await conn.fetch(PUBLIC_IDS, tenant, accounts)}


SECRET = "SELECT secret FROM accounts_account WHERE tenant_id = $1 AND id = $2"


async def secret(conn: Connection, tenant: TenantId, account: AccountId) -> str | None:
    """The sealed secret, for `credentials.unseal`."""
    sealed: str | None = await conn.fetchval(SECRET, tenant, account)
    return sealed


SET_CREDENTIALS = """
    WITH gone AS (DELETE FROM accounts_token WHERE tenant_id = $1 AND account_id = $2)
    UPDATE accounts_account
       SET settings = $3, secret = $4, credentials_version = credentials_version + 1, state = 'active',
           reason = NULL, failures = 0, failing_since = NULL, refusals = 0, retry_at = NULL,
           next_sync_at = now(), wanted_at = now(), logins = 0, login_after = NULL,
           last_sync_error = last_sync_error - 'needs_owner'
     WHERE tenant_id = $1 AND id = $2 RETURNING id
"""


async def set_credentials(
    conn: Connection, tenant: TenantId, account: AccountId, settings: Mapping[str, Any], secret: str | None
) -> None:
    """Connected again: it is active and due at once. Raises `NoSuchAccount`."""
    _found(await conn.fetchrow(SET_CREDENTIALS, tenant, account, dict(settings), secret))
    hint(conn, DUE)


SET_STATE = """
    UPDATE accounts_account
       SET state = $3, reason = $4, next_sync_at = CASE WHEN $3 = 'active' THEN now() ELSE next_sync_at END,
           wanted_at = CASE WHEN $3 = 'active' AND state <> 'active' THEN now() ELSE wanted_at END
     WHERE tenant_id = $1 AND id = $2 RETURNING id
"""


async def set_state(
    conn: Connection, tenant: TenantId, account: AccountId, state: AccountState, reason: str | None = None
) -> None:
    """What becomes active is due at once. Raises `NoSuchAccount`."""
    _found(await conn.fetchrow(SET_STATE, tenant, account, str(state), reason))
    hint(conn, DUE)


MAKE_DUE = """
    UPDATE accounts_account
       SET next_sync_at = now(), state = CASE state WHEN 'reauth_required' THEN 'error' ELSE state END,
           wanted_at = CASE state WHEN 'reauth_required' THEN now() ELSE wanted_at END
     WHERE tenant_id = $1 AND id = ANY($2) AND state <> 'paused'
"""


async def make_due(conn: Connection, tenant: TenantId, accounts: Sequence[AccountId]) -> None:
    """Try these again at once, those too that wait for their owner. A pause stays: it is its owner's."""
    await conn.execute(MAKE_DUE, tenant, accounts)
    hint(conn, DUE)


SET_INTERVAL = """
    UPDATE accounts_account
       SET poll_every = $3, next_sync_at = least(next_sync_at, now() + coalesce($3::interval, $4::interval)),
           wanted_at = least(wanted_at, now() + coalesce($3::interval, $4::interval))
     WHERE tenant_id = $1 AND id = $2 RETURNING id
"""


async def set_interval(
    conn: Connection, tenant: TenantId, account: AccountId, every: timedelta | None, default: timedelta
) -> None:
    """None: the installation's `default`. A shorter one takes effect now. Raises `NoSuchAccount`."""
    _found(await conn.fetchrow(SET_INTERVAL, tenant, account, every, default))


BEGIN_SYNC = f"""
    UPDATE accounts_account
       SET sync_started_at = now(), logins = logins + 1,
           login_after = CASE WHEN logins >= $4 THEN now() + $3::interval END
     WHERE tenant_id = $1 AND id = $2 AND (login_after IS NULL OR login_after <= now())
    RETURNING {COLUMNS}, secret, coalesce(compared_at < now() - $5::interval, true) AS is_old
"""  # noqa: S608  constants only


async def begin_sync(
    conn: Connection, tenant: TenantId, account: AccountId, *, pause: timedelta, full_every: timedelta
) -> tuple[Account, str | None, bool] | timedelta:
    """Count the login, as `begin_login` does: the account, its sealed secret, and whether it is `full_every`
    since it was compared in full; or how long to wait. Raises `NoSuchAccount`.
    """
    row = await conn.fetchrow(BEGIN_SYNC, tenant, account, pause, UNFINISHED, full_every)
    if row is None:
        wait: timedelta = _found(await conn.fetchrow(LOGIN_WAITS, tenant, account))[0]
        return wait
    *values, secret, is_old = row.items()
    return account_of(dict(values)), secret[1], is_old[1]


SUCCEEDED = """
    UPDATE accounts_account
       SET sync_started_at = NULL, last_sync_at = now(), last_sync_status = 'success', last_sync_error = NULL,
           sync_count = sync_count + 1, failures = 0, failing_since = NULL, stale_at = NULL,
           refusals = 0, retry_at = NULL,
           next_sync_at = now() + $3::interval, wanted_at = now() + $3::interval,
           state = CASE WHEN state = 'paused' THEN state ELSE 'active' END,
           reason = CASE WHEN state = 'paused' THEN reason END, logins = 0, login_after = NULL,
           throttled_until = now() + $5::interval, throttled_by = $6
     WHERE tenant_id = $1 AND id = $2 AND ($4::int IS NULL OR credentials_version = $4) RETURNING id
"""


async def mark_sync_succeeded(
    conn: Connection,
    tenant: TenantId,
    account: AccountId,
    *,
    wait: timedelta,
    version: int | None = None,
    throttled: Throttle = NOT_THROTTLED,
) -> bool:
    """It is due again after `wait`. A success heals every state but a pause, which is its owner's.

    False where its credentials are not of this version any more: then nothing is written. Raises
    `NoSuchAccount`.
    """
    values = (wait, version, throttled.wait, throttled.why)
    if await conn.fetchval(SUCCEEDED, tenant, account, *values) is not None:
        return True
    await lock(conn, tenant, account)
    return False


FAILED = """
    UPDATE accounts_account
       SET sync_started_at = NULL, last_sync_at = now(), last_sync_status = 'failed',
           last_sync_error = $3, sync_count = sync_count + 1, failures = failures + 1,
           next_sync_at = now() + $4::interval, failing_since = coalesce(failing_since, now()),
           refusals = $7, retry_at = now() + $8::interval,
           throttled_until = now() + $9::interval, throttled_by = $10,
           state = CASE WHEN state = 'paused' THEN state ELSE $5 END,
           reason = CASE WHEN state = 'paused' THEN reason ELSE $6 END
     WHERE tenant_id = $1 AND id = $2 RETURNING id
"""


async def mark_sync_failed(
    conn: Connection,
    tenant: TenantId,
    account: AccountId,
    *,
    wait: timedelta,
    error: Mapping[str, Any],
    state: AccountState,
    needs_owner: bool = False,
    refusals: int = 0,
    retry: timedelta | None = None,
    throttled: Throttle = NOT_THROTTLED,
) -> None:
    """It is due again after `wait`; one that waits for its owner, after `retry`. Of `error`, which has `code`
    and `message`, the message is the reason of the state. Raises `NoSuchAccount`.
    """
    told = {**error, "needs_owner": True} if needs_owner else dict(error)
    values = (told, wait, str(state), error["message"], refusals, retry, throttled.wait, throttled.why)
    _found(await conn.fetchrow(FAILED, tenant, account, *values))


PUT_OFF = """
    UPDATE accounts_account
       SET sync_started_at = NULL, next_sync_at = least(next_sync_at, now() + $3::interval)
     WHERE tenant_id = $1 AND id = $2 RETURNING id
"""


async def put_off_sync(conn: Connection, tenant: TenantId, account: AccountId, wait: timedelta) -> None:
    """One that had to be left for later: how the last one went still stands. Raises `NoSuchAccount`."""
    _found(await conn.fetchrow(PUT_OFF, tenant, account, wait))


STOPPED = "UPDATE accounts_account SET sync_started_at = NULL WHERE tenant_id = $1 AND id = $2"


async def mark_sync_stopped(conn: Connection, tenant: TenantId, account: AccountId) -> None:
    """None runs any more, and what came of it says nothing of the account."""
    await conn.execute(STOPPED, tenant, account)


BEGIN_LOGIN = """
    UPDATE accounts_account
       SET logins = logins + 1, login_after = CASE WHEN logins >= $4 THEN now() + $3::interval END
     WHERE tenant_id = $1 AND id = $2 AND (login_after IS NULL OR login_after <= now())
    RETURNING id
"""
LOGIN_WAITS = "SELECT login_after - now() FROM accounts_account WHERE tenant_id = $1 AND id = $2"
UNFINISHED = 2  # logins that nothing was heard of, before the next ones have to wait


async def begin_login(
    conn: Connection, tenant: TenantId, account: AccountId, pause: timedelta
) -> timedelta | None:
    """None: go ahead; else how long to wait."""
    if await conn.fetchval(BEGIN_LOGIN, tenant, account, pause, UNFINISHED) is not None:
        return None
    wait: timedelta | None = await conn.fetchval(LOGIN_WAITS, tenant, account)
    return wait


END_LOGIN = """
    UPDATE accounts_account SET logins = CASE WHEN $3::interval IS NULL THEN 0 ELSE logins END,
           login_after = now() + $3::interval
     WHERE tenant_id = $1 AND id = $2 AND credentials_version = $4
"""


async def end_login(conn: Connection, account: Account, pause: timedelta | None) -> None:
    """It ended well, or the next one with the same credentials has to wait for `pause`."""
    await conn.execute(END_LOGIN, account.tenant_id, account.id, pause, account.credentials_version)


COMPARED = """
    UPDATE accounts_account
       SET compared_at = now() - $3::interval,
           verified_fresh_at = CASE WHEN $4 THEN now() - $3::interval ELSE verified_fresh_at END
     WHERE tenant_id = $1 AND id = $2
"""


async def mark_compared(
    conn: Connection, tenant: TenantId, account: AccountId, took: timedelta, *, is_equal: bool
) -> None:
    """Every folder was compared in full, which `took` so long; and the copy was equal, or is now."""
    await conn.execute(COMPARED, tenant, account, took, is_equal)


BEGIN_REMOVAL = """
    UPDATE accounts_account
       SET state = 'paused', reason = $3, compared_at = NULL, verified_fresh_at = NULL
     WHERE tenant_id = $1 AND id = $2 RETURNING id
"""


async def begin_removal(conn: Connection, tenant: TenantId, account: AccountId, reason: str) -> None:
    """It is polled no more, and the next sync, if any, compares everything. Raises `NoSuchAccount`."""
    _found(await conn.fetchrow(BEGIN_REMOVAL, tenant, account, reason))


REMOVE = "DELETE FROM accounts_account WHERE tenant_id = $1 AND id = $2 RETURNING public_id"


async def remove(conn: Connection, tenant: TenantId, account: AccountId) -> None:
    """With everything that hangs on it by foreign keys. Raises `NoSuchAccount`."""
    _found(await conn.fetchrow(REMOVE, tenant, account))


def _found(row: Record | None) -> Record:
    if row is None:
        raise NoSuchAccount("There is no such account.")
    return row


def account_of(row: Record | Mapping[str, Any]) -> Account:
    values = dict(row)
    scope = values.pop("scope")
    since = scope.get("since")
    state, error = AccountState(values["state"]), values["last_sync_error"] or {}
    return Account(
        **values
        | {
            "scope": Scope(
                folders=scope.get("folders"),
                since=date.fromisoformat(since) if since else None,
                largest=scope.get("largest"),
            ),
            "state": state,
            "needs_owner": error.pop("needs_owner", False) or state is AccountState.REAUTH_REQUIRED,
        }
    )


def _scope_json(scope: Scope) -> dict[str, Any]:
    values = {
        "folders": scope.folders,
        "since": scope.since.isoformat() if scope.since else None,
        "largest": scope.largest,
    }
    return {key: value for key, value in values.items() if value is not None}
