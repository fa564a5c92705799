"""What a server says beside its answers, in any state, that somebody should know of."""

from .responses import Status

MOST = 5  # alerts that wait to be taken; the latest
LONGEST = 1000  # characters of one
THROTTLED = "[THROTTLED]"  # Gmail says so at the end of an OK, where no code stands


class Heeded:
    """`alerts` must be shown to the user (RFC 9051, 7.1); whoever does takes them out."""

    __slots__ = ("alerts", "throttled")

    def __init__(self) -> None:
        self.alerts: list[str] = []
        self.throttled = 0  # answers that the server made slow on purpose

    def take(self, status: Status) -> None:
        code = status.code.name if status.code else ""
        if code == "ALERT" and status.text.strip():
            self.alerts = [*self.alerts, status.text[:LONGEST]][-MOST:]
        if code == "THROTTLED" or THROTTLED in status.text[-LONGEST:]:
            self.throttled += 1
