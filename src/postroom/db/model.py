"""What can go wrong with the database, each as one sentence, and what a lease is."""

from dataclasses import dataclass

from postroom.errors import Broken, TryLater
from postroom.ids import TenantId


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on something. `token` is larger than that of every holder before."""

    tenant: TenantId
    name: str
    token: int


class Unreachable(Broken):
    """No connection, or it was lost in the middle. Nothing of the running transaction is stored."""

    code = "db.unreachable"


class Refused(Broken):
    """The server answered and would not let us in."""

    code = "db.refused"


class DiskFull(Broken):
    """There is no room left to write."""

    code = "db.disk_full"


class TooOld(Broken):
    """The server is older than PostgreSQL 15."""

    code = "db.too_old"


class NotPermitted(Broken):
    """The database user lacks a right; the message holds the statements that grant it."""

    code = "db.not_permitted"


class NotPrepared(Broken):
    """The database has not been migrated by this release."""

    code = "db.not_prepared"


class ChangedMigration(Broken):
    """A migration file differs from what was once applied."""

    code = "db.changed_migration"


class Busy(TryLater):
    """The server is starting, stopping, read-only, short of something, or chose us to break a deadlock."""

    code = "db.busy"


class LeaseHeld(TryLater):
    """Somebody else holds the lease."""

    code = "db.lease_held"


class LeaseLost(TryLater):
    """Somebody else has taken the lease over; what this holder still wanted to write is refused."""

    code = "db.lease_lost"


class NotOurFolder(Broken):
    """The data folder holds other things, or belongs to somebody else."""

    code = "db.not_our_folder"


class NotWritable(Broken):
    """The data folder cannot be made or written."""

    code = "db.not_writable"


class OtherVersion(Broken):
    """The data folder was made by another major version of PostgreSQL."""

    code = "db.other_version"


class NoServer(Broken):
    """There is no embedded PostgreSQL for this platform, or none that its user can run."""

    code = "db.no_server"


class NotStarted(Broken):
    """The embedded PostgreSQL does not start; its log says why."""

    code = "db.not_started"


DATABASE_AWAY = (Unreachable, Refused, DiskFull, Busy)
"""What whoever runs for ever waits out, until the operator has mended it."""
