"""Named switches that make the lab server misbehave, each as a real server was seen to.

A fault is a name, what it does, and the number of the misbehaviour that it plays. The server asks `active` at
the place where the fault acts, `first` where it acts once in the life of the server, `turn` where it acts on
some calls.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass


class UnknownFault(Exception):
    """There is no fault of that name; the text lists those that there are."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One switch."""

    name: str
    does: str
    misbehaviour: int


FAULTS = {
    fault.name: fault
    for fault in (
        Fault("greeting-late", "accepts the connection and never greets", 1),
        Fault("greeting-bye", "greets with BYE and closes", 6),
        Fault("preauth", "greets with PREAUTH, so that STARTTLS cannot be asked for", 2),
        Fault("starttls-injection", "sends plaintext right behind the OK to STARTTLS", 3),
        Fault("starttls-stripped", "does not offer STARTTLS and refuses it", 4),
        Fault("idle-dies", "tells nothing while a client idles", 5),
        Fault("bye-in-idle", "says BYE as soon as a client idles", 6),
        Fault("bye-in-fetch", "says BYE after the first message of a FETCH", 7),
        Fault("cut-in-literal", "closes in the middle of the first body it sends", 8),
        Fault("select-fails", "refuses to select any folder but INBOX", 9),
        Fault("second-list-fails", "refuses the second LIST of a session", 12),
        Fault("authenticated-not-connected", "accepts the login and refuses everything else", 14),
        Fault("login-no", "refuses the right password as if it were wrong", 14),
        Fault("overquota", "refuses every second FETCH of bodies for using too much bandwidth", 22),
        Fault("too-many-connections", "refuses logins while another session of the account is open", 24),
        Fault("backoff", "refuses FETCH and says how many milliseconds to wait", 26),
        Fault("search-truncated", "SEARCH finds only the ten newest", 28),
        Fault("unavailable-uid", "refuses any FETCH of the body of UID 3", 29),
        Fault("unsafe-login", "refuses SELECT until the client has sent ID", 34),
        Fault("logindisabled", "refuses LOGIN", 36),
        Fault("list-empty", "answers the first LIST with nothing", 47),
        Fault("vanishing-folder", "deletes a folder in the moment that it is selected first", 50),
        Fault("validity-changes", "numbers each folder anew, once, when it is selected a second time", 56),
        Fault("validity-loops", "numbers each folder anew whenever it is selected", 57),
        Fault("validity-missing", "does not tell UIDVALIDITY", 59),
        Fault("uidnext-missing", "does not tell UIDNEXT", 61),
        Fault("modseq-decreases", "tells a lower HIGHESTMODSEQ each time", 62),
        Fault("esearch-ignored", "answers SEARCH RETURN with an ordinary SEARCH", 74),
        Fault("no-flags-in-fetch", "leaves FLAGS out of FETCH answers", 76),
        Fault("empty-body", "sends every body with length zero", 77),
        Fault("body-missing", "leaves bodies out of FETCH answers", 78),
        Fault("breaks-on-message", "closes whenever it is asked for the third message of a folder", 105),
        Fault("size-lies", "tells an RFC822.SIZE that is wrong by a few bytes", 83),
        Fault("date-absurd", "tells an INTERNALDATE in the year 2099", 89),
        Fault("unsolicited-status", "tells the STATUS of another folder before each FETCH answer", 90),
    )
}


class Faults:
    """The switches of one server. May be changed while it runs."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._active: set[str] = set()
        self._asked: Counter[str] = Counter()
        self.switch_on(*names)

    def switch_on(self, *names: str) -> None:
        """Raises UnknownFault."""
        for name in names:
            if name not in FAULTS:
                raise UnknownFault(f"no fault {name!r}; there are {', '.join(sorted(FAULTS))}")
        self._active.update(names)

    def switch_off(self, *names: str) -> None:
        """The server behaves again; what a fault has counted is forgotten."""
        self._active.difference_update(names)
        for key in [key for key in self._asked if key.split(":")[0] in names]:
            del self._asked[key]

    def active(self, name: str) -> bool:
        """Whether the fault is switched on."""
        return name in self._active

    def turn(self, name: str, about: str = "") -> int:
        """How often an active fault was asked about one thing, this time included; 0 when it is off."""
        if name not in self._active:
            return 0
        self._asked[f"{name}:{about}"] += 1
        return self._asked[f"{name}:{about}"]

    def first(self, name: str, about: str = "") -> bool:
        """Whether the fault is on and acts for the first time."""
        return self.turn(name, about) == 1
