"""What a process knows of an account that it watches."""

from dataclasses import dataclass

from postroom.providers.model import Watching


@dataclass(slots=True)
class Watched:
    watching: Watching | None = None
    began: float = 0.0  # when it began to listen
    brief: int = 0  # sessions in a row that ended soon
    tries: int = 0  # polls in a row that somebody else was at
    gaps: int = 0  # in a row
    cannot_until: float = 0.0  # its server does not tell
    waits: float | None = None  # when it is to be polled later
    ended: bool = False  # a sync has, during the poll of this moment
    again: bool = False  # and once more after the poll of this moment
