"""What the failure of a sync means for its account. Pure.

what came                                        state            next by itself            event
nothing wrong on our side or the server's        error            backing off, never        -
  (TryLater, Broken, NotFound)                                    before its `wait`
it cannot be reached (Unreachable)               error            the same, soon at last    -
it said how long to stay away (Throttled)        error            then, exactly             -
refused (password, certificate, mailbox),        error            in a few minutes          -
  the first time since a success
refused again, or never accepted, or in words    reauth_required  hours later, not often    reauth_required
  that leave no doubt (Expired, Blocked)                                                      (once)
no login without encryption, or not to be        reauth_required  hours later, for ever:    reauth_required
  trusted, again                                                    no password is sent       (once)
another one must be made: no password is stored, reauth_required  -                         reauth_required
  a grant is gone, its newest token is refused
what waits for its owner fails for another       reauth_required  later                     -
  reason

A server that has accepted a password for years and refuses it once may have lost its directory for a moment:
that is no news for its owner.
"""

from dataclasses import dataclass
from datetime import timedelta

from postroom.accounts import due
from postroom.accounts.model import Account, AccountState
from postroom.errors import NeedsOwner, PostroomError, TryLater
from postroom.providers.model import (
    AppPassword,
    Blocked,
    Expired,
    NoMailbox,
    NotTrusted,
    Throttled,
    TlsRefused,
    Unreachable,
    WrongPassword,
)

SECOND_LOOK = timedelta(minutes=5)
CROWDED = timedelta(minutes=15)  # before the second look, where too many logins may be the cause
HOUR = timedelta(hours=1)
AGAIN = (6 * HOUR, 12 * HOUR, 24 * HOUR, 24 * HOUR, 24 * HOUR)  # so often, lest the server locks the account
HARMLESS = (NotTrusted, TlsRefused)  # nothing secret was sent
CERTAIN = (Expired, Blocked)
OF_SERVER = (WrongPassword, AppPassword, NoMailbox, *CERTAIN, *HARMLESS)


@dataclass(frozen=True, slots=True)
class Verdict:
    state: AccountState
    wait: timedelta | None  # until the next sync by itself; None: none
    refusals: int = 0  # in a row, this one included
    is_news: bool = False  # its owner is told: accounts.reauth_required


def verdict(account: Account, error: PostroomError, every: timedelta, roll: float) -> Verdict:
    """`account` as it was when the sync began; `every`: its poll interval; `roll`: see `due`."""
    if isinstance(error, NeedsOwner):
        return _refused(account, error)
    if isinstance(error, Throttled):
        wait = error.wait
    else:
        asked = error.wait if isinstance(error, TryLater) else None
        longest = due.LONGEST_AWAY if isinstance(error, Unreachable) else due.LONGEST_BACKOFF
        wait = due.after_failure(every, account.failures + 1, asked, roll, longest)
    if account.state is AccountState.REAUTH_REQUIRED:
        return Verdict(account.state, max(wait, HOUR), account.refusals)
    return Verdict(AccountState.ERROR, wait, account.refusals)


def _refused(account: Account, error: NeedsOwner) -> Verdict:
    refusals = account.refusals + 1
    if refusals == 1 and _was_accepted(account) and _is_doubtful(error):
        return Verdict(AccountState.ERROR, CROWDED if isinstance(error, NoMailbox) else SECOND_LOOK, refusals)
    is_news = not account.needs_owner
    return Verdict(AccountState.REAUTH_REQUIRED, _again(error, refusals), refusals, is_news)


def _was_accepted(account: Account) -> bool:
    """Whether a sync of it has succeeded, and its owner has not been told of anything since."""
    worked = account.last_sync_status == "success" or account.compared_at is not None
    return worked and not account.needs_owner


def _is_doubtful(error: NeedsOwner) -> bool:
    return isinstance(error, OF_SERVER) and not isinstance(error, CERTAIN)


def _again(error: NeedsOwner, refusals: int) -> timedelta | None:
    if isinstance(error, HARMLESS):
        return AGAIN[0]
    before = max(refusals - 2, 0)  # the first two come before it is believed
    return AGAIN[before] if isinstance(error, OF_SERVER) and before < len(AGAIN) else None
