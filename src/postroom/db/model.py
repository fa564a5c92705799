"""What can go wrong with the database, each as one sentence, and what a lease is."""

from postroom.errors import Broken, TryLater


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
    """The server is starting, stopping, out of connections, or chose us to break a deadlock."""

    code = "db.busy"
