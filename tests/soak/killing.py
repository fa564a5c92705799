"""Our real processes, and how they are killed with -9: commands, `up`, PostgreSQL and its keeper."""

import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

COMMAND = (sys.executable, "-m", "postroom.cli")
STOP_SECONDS = 60
MOST_SYNCS = 2  # at the same time
SETTINGS = {
    "POSTROOM_LOGIN_PAUSE_SECONDS": "0",
    "POSTROOM_EMAIL_SYNC_INTERVAL_MINUTES": "0.005",
    "POSTROOM_PORT": "0",
}


@dataclass(slots=True)
class Commands:
    """The commands of one installation. `bugs` holds what they said that no command should say."""

    data: Path
    bugs: list[str] = field(default_factory=list)
    _up: "asyncio.subprocess.Process | None" = None
    _syncs: list["asyncio.subprocess.Process"] = field(default_factory=list)

    async def keep_up(self) -> None:
        """Start `up` where it does not run, as a supervisor would."""
        if self._up is None or self._up.returncode is not None:
            if self._up is not None:
                await self._heard(self._up)
            self._up = await self._start("up")

    async def sync(self) -> None:
        """Start a `sync` of all accounts beside it, unless there are some already."""
        if sum(process.returncode is None for process in self._syncs) < MOST_SYNCS:
            self._syncs.append(await self._start("sync", "--json"))

    async def stop(self) -> None:
        """End everything in good order; raises `TimeoutError` for what does not end."""
        processes = [*self._syncs, *([self._up] if self._up else [])]
        self._syncs, self._up = [], None
        for process in processes:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in processes:
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await self._heard(process)
            except TimeoutError:
                process.kill()
                raise

    async def kill(self, dice: random.Random) -> str | None:
        """Kill one of ours; what it was, None where nothing ran."""
        kinds = [
            (self._kill_up, 4),
            (self._kill_sync, 4),
            (self._kill_postgres, 2),
            (self._kill_backend, 2),
            (self._kill_keeper, 1),
            (self._pause_up, 1),
        ]
        (kind,) = dice.choices([kind for kind, _ in kinds], [weight for _, weight in kinds])
        return await kind(dice)

    async def _kill_up(self, _dice: random.Random) -> str | None:
        if self._up is None or self._up.returncode is not None:
            return None
        self._up.kill()
        await self._up.communicate()
        self._up = None
        return "kill up"

    async def _kill_sync(self, _dice: random.Random) -> str | None:
        alive = [process for process in self._syncs if process.returncode is None]
        for process in self._syncs:
            if process.returncode is not None:
                await self._heard(process)
        self._syncs = alive[1:]
        if not alive:
            return None
        alive[0].kill()
        await alive[0].communicate()
        return "kill sync"

    async def _kill_postgres(self, _dice: random.Random) -> str | None:
        return "kill postgres" if _kill(self._postmaster()) else None

    async def _kill_backend(self, dice: random.Random) -> str | None:
        postmaster = self._postmaster()
        ours = [pid for pid in _processes() if postmaster is not None and _parent(pid) == postmaster]
        return "kill backend" if ours and _kill(dice.choice(ours)) else None

    async def _kill_keeper(self, _dice: random.Random) -> str | None:
        postmaster = self._postmaster()
        return "kill keeper" if postmaster is not None and _kill(_parent(postmaster)) else None

    async def _pause_up(self, _dice: random.Random) -> str | None:
        """It wakes when it is to end, long after another has taken its lease over, or is killed asleep."""
        if self._up is None or self._up.returncode is not None:
            return None
        self._up.send_signal(signal.SIGSTOP)
        return "pause up"

    def _postmaster(self) -> int | None:
        with suppress(FileNotFoundError, IndexError, ValueError):
            pid = int((self.data / "postgres/cluster/postmaster.pid").read_text().split("\n", 1)[0])
            return pid if _parent(pid) is not None else None
        return None

    async def _heard(self, process: "asyncio.subprocess.Process") -> None:
        said, _ = await process.communicate()
        text = said.decode(errors="replace")
        if "Traceback" in text or "[cli.bug]" in text:
            self.bugs.append(text[-2000:])

    async def _start(self, *words: str) -> "asyncio.subprocess.Process":
        kept = {name: value for name, value in os.environ.items() if not name.startswith("POSTROOM_")}
        # Should we be killed ourselves, nothing of ours goes on.
        guard = ("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv") else ()
        return await asyncio.create_subprocess_exec(
            *guard,
            *COMMAND,
            *words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**kept, **SETTINGS, "POSTROOM_DATA": str(self.data)},
        )


def _kill(pid: int | None) -> bool:
    if pid is None or pid <= 1:
        return False
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False


def _processes() -> Sequence[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _parent(pid: int) -> int | None:
    """None when there is no such process, or only its remains."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[1])
