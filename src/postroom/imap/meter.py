"""How quickly content comes over the link, told from what comes anyway. Pure: the clocks are the caller's.

    a read ends within a literal ──> the next bytes are on their way: they and the wait for them count
    a read ends anywhere else ─────> the server may be thinking: what it takes then says nothing

Only the wait counts, not the time in which we were busy ourselves and the kernel collected bytes for us. So
the speed is too high where we are the slow side, and never below what is really got through.
"""

SPAN = 1 << 18  # bytes that make one measurement
LONGEST = 1.0  # seconds of waiting that make one, too, where the link is slower than that
SPANS = 9  # measurements that count
ENOUGH = 4
AT_BEST = 3 / 4  # of them are slower than what counts: a link begins slowly, and stalls
SHORTEST = 1e-6  # seconds; clocks are not exact


class Meter:
    """Tell it of each read; ask it for the `speed`."""

    def __init__(self) -> None:
        self._spans: list[float] = []
        self._last: tuple[float, float] | None = None  # when the last read was, if the next one counts
        self._bytes = 0
        self._waited = 0.0

    @property
    def speed(self) -> float | None:
        """Bytes of content a second; None until enough was seen."""
        if len(self._spans) < ENOUGH:
            return None
        return sorted(self._spans)[int(len(self._spans) * AT_BEST)]

    def read(self, now: float, busy: float, content: int, *, owed: bool) -> None:
        """`content` bytes have come. `owed`: they end within a literal, and we go on reading.

        `now` and `busy` are seconds since any fixed moment: by the clock, and those that this thread has
        spent on the processor.
        """
        if self._last is not None:
            then, busy_then = self._last
            self._bytes += content
            self._waited += max(now - then - (busy - busy_then), 0.0)
            if self._bytes >= SPAN or self._waited >= LONGEST:
                self._spans.append(self._bytes / max(self._waited, SHORTEST))
                del self._spans[:-SPANS]
                self._bytes, self._waited = 0, 0.0
        self._last = (now, busy) if owed else None
