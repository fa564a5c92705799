"""Turns what asyncpg raises into the errors of `model`, where a person can do something about it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import asyncpg

from postroom.db.model import Busy, DiskFull, NotPrepared, Refused, Unreachable
from postroom.errors import PostroomError

# asyncpg calls it an internal error when the server ends a connection between two statements.
DRIVER = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
GONE = (
    asyncpg.InternalClientError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.PostgresConnectionError,
)
NOT_NOW = (
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.LockNotAvailableError,
    asyncpg.OutOfMemoryError,
    asyncpg.QueryCanceledError,  # by its administrator, or by a limit that was set for our user
    asyncpg.DatatypeMismatchError,  # a migration has just added a column to the rows that a function gives
    asyncpg.ReadOnlySQLTransactionError,  # another server is about to take over from this one
)
QUOTED = re.compile(r'(query argument \$\d+: ).*(?= \()|"[^"]*"')
UNWELCOME = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError)


def translated(error: BaseException, *, lost: bool) -> PostroomError | None:
    """The error to raise instead, or None where the original says it best (a bug, a constraint).

    `lost` says that the connection is gone, which makes a vague error of the driver a clear one. A
    TimeoutError is the caller's own, although Python counts it among the OSErrors.
    """
    if isinstance(error, TimeoutError):
        return None
    if isinstance(error, asyncpg.DiskFullError):
        return DiskFull("The disk of the database is full; make room, then try again.")
    if isinstance(error, NOT_NOW):
        return Busy(f"The database is busy ({_said(error)}); try again.", wait=timedelta(seconds=5))
    if isinstance(error, UNWELCOME):
        return Refused(f"PostgreSQL refuses the connection: {_said(error)}.")
    if isinstance(error, GONE) or (lost and isinstance(error, asyncpg.InterfaceError | OSError)):
        return Unreachable("The connection to PostgreSQL was lost; see that it runs, then try again.")
    return None


def told(error: BaseException) -> str:
    """The sentence of PostgreSQL or of its driver, without the values that it quotes: they are somebody's."""
    return QUOTED.sub(r"\1...", _said(error))


def _said(error: BaseException) -> str:
    """The sentence of PostgreSQL, without the lines of particulars below it."""
    return str(error).partition("\n")[0]


@contextmanager
def connecting() -> Iterator[None]:
    """Translate whatever can go wrong before a connection stands."""
    try:
        yield
    except asyncpg.InvalidParameterValueError as error:
        raise NotPrepared(f"The database is not prepared for postroom: {error}.") from error
    except DRIVER as error:
        reason = translated(error, lost=False)
        if reason is None:
            reason = Unreachable(f"PostgreSQL cannot be reached: {error}.")
        raise reason from error


@contextmanager
def translating(conn: asyncpg.Connection) -> Iterator[None]:
    """Translate what happens while a connection is used."""
    try:
        yield
    except DRIVER as error:
        if reason := translated(error, lost=conn.is_closed()):
            raise reason from error
        raise
