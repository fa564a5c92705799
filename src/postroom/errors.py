"""Every error that postroom raises on purpose, by what the caller should do next.

PostroomError
├── TryLater           the same call may work after `wait`
│   └── TooOften       and whoever calls should call less often
├── NeedsOwner         only the owner of the account can mend it (password, consent, permission)
├── BadMessage         this one message cannot be handled; park it and go on
├── Invalid            the caller asked for something that makes no sense; say it differently
├── Unauthenticated    we do not know who is asking
├── Forbidden          we know who is asking, and they may not
├── NotFound           there is no such thing, or it belongs to somebody else
├── Conflict           it is so already, or something else is in the way
└── Broken             the installation needs its operator (disk full, database gone, wrong folder)

Rooms subclass these in their `model` and give each its `code`, whose first word is the room:
`accounts.wrong_password`. Messages are for people, one sentence that says what to do; codes are for
programs and never change; `data` holds the particulars, never a secret.
"""

from datetime import timedelta
from typing import Any, ClassVar


class PostroomError(Exception):
    """Base of every error raised on purpose. `str(error)` is the sentence for people."""

    code: ClassVar[str] = "postroom.error"

    def __init__(self, message: str, **data: Any) -> None:
        super().__init__(message)
        self.message = message
        self.data = data


class TryLater(PostroomError):
    """The same call may work after `wait`."""

    code = "postroom.try_later"

    def __init__(self, message: str, *, wait: timedelta = timedelta(minutes=1), **data: Any) -> None:
        super().__init__(message, **data)
        self.wait = wait


class TooOften(TryLater):
    """The same call may work after `wait`, if there are fewer of them from then on."""

    code = "postroom.too_often"


class NeedsOwner(PostroomError):
    """Asking again will not help; the owner of the account must act."""

    code = "postroom.needs_owner"


class BadMessage(PostroomError):
    """One message cannot be handled. The rest is unaffected."""

    code = "postroom.bad_message"


class Invalid(PostroomError):
    """The request makes no sense as it stands."""

    code = "postroom.invalid"


class Unauthenticated(PostroomError):
    """Nobody, or nobody we know, is asking."""

    code = "postroom.unauthenticated"


class Forbidden(PostroomError):
    """Whoever asks may not do this."""

    code = "postroom.forbidden"


class NotFound(PostroomError):
    """No such thing, as far as whoever asks may know."""

    code = "postroom.not_found"


class Conflict(PostroomError):
    """It exists already, or something else is in the way."""

    code = "postroom.conflict"


class Broken(PostroomError):
    """The installation itself needs attention."""

    code = "postroom.broken"
