"""The server's whole life, with real processes that are really killed."""

import asyncio
import contextlib
import fcntl
import os
import pwd
import select
import shutil
import signal
import socket
import stat
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from postroom.db import model
from postroom.db.embedded.client import running
from postroom.db.model import Busy, Unreachable
from postroom.db.pool import Database, open_pool
from postroom.errors import Broken

FAST = ("fsync=off",)
ROOT = os.geteuid() == 0
NOBODY = pwd.getpwnam("nobody").pw_uid

HOLD = """
import asyncio, sys
from pathlib import Path
from postroom.db.embedded.client import running
from postroom.errors import PostroomError

async def main():
    try:
        async with running(Path(sys.argv[1]), ["fsync=off"]) as dsn:
            print(dsn, flush=True)
            await asyncio.Event().wait()
    except PostroomError as error:
        print(error.code, flush=True)

asyncio.run(main())
"""


@pytest.fixture
def data() -> Iterator[Path]:
    """A data folder that is gone, with everything that ran in it, when the test ends."""
    top = Path(tempfile.mkdtemp(prefix="postroom-embedded-"))
    data = top / "data"
    yield data
    wait_for_the_end(data)
    shutil.rmtree(top)


def wait_for_the_end(data: Path) -> None:
    """Return when neither keeper nor any process of PostgreSQL is left: each of them holds the lock."""
    with (
        contextlib.suppress(FileNotFoundError, NotADirectoryError),
        (data / "postgres" / "lock").open() as lock,
    ):
        fcntl.flock(lock, fcntl.LOCK_SH)


def keeper(data: Path) -> int:
    return int((data / "postgres" / "lock").read_text())


def postmaster(data: Path) -> int:
    return int((data / "postgres" / "cluster" / "postmaster.pid").read_text().split()[0])


@asynccontextmanager
async def command(
    data: Path, python: str = sys.executable, **options: object
) -> AsyncIterator[tuple[Process, str]]:
    """Another process that holds the server, and the URL that it was given (or the code of its error)."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = await asyncio.create_subprocess_exec(
        *(python, "-c", HOLD, str(data)),
        stdout=PIPE,
        env=environment,
        start_new_session=True,
        **options,  # type: ignore[arg-type]
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            dsn = await process.stdout.readline()
        yield process, dsn.decode().strip()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def owner(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def status(pid: int) -> dict[str, list[str]]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {line.split(":")[0]: line.split()[1:] for line in lines}


def put(file: Path, content: str) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(content)


def python_for_others(folder: Path) -> str:
    """A Python that every user can run, and who can get as far as the folder; skips where there is none."""
    folder.chmod(0o755)
    system = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, system):
        places = (Path(python).resolve(), Path(__file__), Path(asyncpg.__file__))
        if all(parent.stat().st_mode & stat.S_IXOTH for place in places for parent in place.parents):
            return python
    pytest.skip("this Python is out of reach of other users")


async def answer(dsn: str, query: str = "SELECT 42") -> object:
    conn = await asyncpg.connect(dsn)
    try:
        return await conn.fetchval(query)
    finally:
        await conn.close()


async def test_a_first_start_makes_a_server_that_only_we_can_reach(data: Path) -> None:
    async with running(data, FAST) as dsn:
        version = await answer(dsn, "SHOW server_version")
        locale = await answer(dsn, "SELECT datlocale FROM pg_database WHERE datname = current_database()")
        checked = await answer(dsn, "SELECT lower('ÄÖ') || upper('ß')")
        listening = await answer(dsn, "SHOW listen_addresses")
        user = owner(postmaster(data))

    assert str(version).startswith("18")
    assert (locale, checked, listening) == ("C.UTF-8", "äöß", "")
    assert user != 0
    assert {mode(data / name) for name in ("", "postgres", "postgres/cluster")} == {0o700}


@pytest.mark.slow
async def test_what_was_committed_is_there_at_the_next_start(data: Path) -> None:
    async with running(data, FAST) as dsn:
        await answer(dsn, "CREATE TABLE kept AS SELECT 42 AS n")
    await asyncio.to_thread(wait_for_the_end, data)

    async with running(data, FAST) as dsn:
        assert await answer(dsn, "SELECT n FROM kept") == 42


@pytest.mark.slow
async def test_nothing_is_left_when_the_last_one_goes(data: Path) -> None:
    async with running(data, FAST):
        processes = [os.pidfd_open(pid) for pid in (keeper(data), postmaster(data))]
    await asyncio.to_thread(wait_for_the_end, data)

    for process in processes:
        assert select.select([process], [], [], 10)[0], "still runs"
        os.close(process)
    assert not {"keeper.sock", "cluster.new"} & set(os.listdir(data / "postgres"))
    assert "postmaster.pid" not in os.listdir(data / "postgres" / "cluster")


@pytest.mark.slow
async def test_five_commands_at_once_share_one_server(data: Path) -> None:
    async with contextlib.AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        starting = [group.create_task(stack.enter_async_context(command(data))) for _ in range(5)]
        started = [await task for task in starting]
        servers = {await answer(dsn, "SELECT pg_postmaster_start_time()") for _, dsn in started}

    assert len(servers) == 1


async def test_a_command_that_is_killed_does_not_stop_the_server_under_another(data: Path) -> None:
    async with command(data) as (first, _), command(data) as (second, dsn):
        conn = await asyncpg.connect(dsn)
        first.kill()
        await first.wait()
        async with command(data):  # the keeper has noticed by the time it answers the next
            pass

        assert await conn.fetchval("SELECT 42") == 42
        await conn.close()
        second.kill()
        await second.wait()
        await asyncio.to_thread(wait_for_the_end, data)


@pytest.mark.slow
async def test_ctrl_c_in_the_terminal_reaches_neither_keeper_nor_server(data: Path) -> None:
    async with command(data) as (process, dsn):
        conn = await asyncpg.connect(dsn)
        os.killpg(process.pid, signal.SIGINT)  # what a terminal does
        await process.wait()

        assert await conn.fetchval("SELECT 42") == 42
        assert process.pid not in {os.getsid(pid) for pid in (keeper(data), postmaster(data))}
        await conn.close()


async def comes_back(db: Database, query: str) -> object:
    """The answer, as soon as there is one again."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(Unreachable, Busy):
                async with db.unbound() as conn:
                    return await conn.fetchval(query)
            await asyncio.sleep(0.01)


@pytest.mark.slow
async def test_a_killed_keeper_takes_the_server_with_it_and_another_comes(data: Path) -> None:
    async with running(data, FAST) as dsn, open_pool(dsn, role=None) as db:
        killed, server = keeper(data), os.pidfd_open(postmaster(data))
        os.kill(killed, signal.SIGKILL)
        assert (await asyncio.to_thread(select.select, [server], [], [], 30))[0], "still runs"
        os.close(server)

        assert await comes_back(db, "SELECT 42") == 42
        assert keeper(data) != killed


@pytest.mark.slow
async def test_a_killed_server_comes_back_without_a_loss(data: Path) -> None:
    async with running(data) as dsn, open_pool(dsn, role=None) as db:
        await answer(dsn, "CREATE TABLE kept AS SELECT 42 AS n")
        server = os.pidfd_open(postmaster(data))
        signal.pidfd_send_signal(server, signal.SIGKILL)
        assert (await asyncio.to_thread(select.select, [server], [], [], 30))[0]
        os.close(server)

        assert await comes_back(db, "SELECT n FROM public.kept") == 42


@pytest.mark.slow
async def test_what_a_power_loss_leaves_behind_does_not_matter(data: Path) -> None:
    async with running(data, FAST) as dsn:
        await answer(dsn, "CREATE TABLE kept AS SELECT 42 AS n")
    await asyncio.to_thread(wait_for_the_end, data)
    home = data / "postgres"
    # The number of another process that lives, as after a restart of the machine.
    (home / "cluster" / "postmaster.pid").write_text(
        f"{os.getppid()}\n/elsewhere\n0\n5432\n/tmp\n\n1 2\nready\n"
    )
    shutil.copytree(home / "cluster" / "base", home / "cluster.new")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(home / "keeper.sock"))

    async with running(data, FAST) as dsn:
        assert await answer(dsn, "SELECT n FROM kept") == 42


@pytest.mark.parametrize(
    "name",
    ["comma,and'quote\"%41?&# 日本", "x" * 200 + "/" + "y" * 200],
)
@pytest.mark.slow
async def test_any_path_will_do(data: Path, name: str) -> None:
    inner = data / name
    async with running(inner, FAST) as dsn, open_pool(dsn, role=None) as db, db.unbound() as conn:
        assert await conn.fetchval("SELECT 42") == 42
    await asyncio.to_thread(wait_for_the_end, inner)


@pytest.mark.slow
async def test_two_data_folders_have_two_servers(data: Path) -> None:
    async with running(data / "one", FAST) as one, running(data / "two", FAST) as two:
        assert await answer(one, "SELECT pg_backend_pid()") != await answer(two, "SELECT pg_backend_pid()")
    await asyncio.to_thread(wait_for_the_end, data / "one")
    await asyncio.to_thread(wait_for_the_end, data / "two")


@pytest.mark.skipif(not ROOT, reason="only root can become another user")
@pytest.mark.slow
async def test_an_ordinary_user_needs_nobodys_help(data: Path) -> None:
    put(data / "secret.key", "")
    python = python_for_others(data.parent)
    os.chown(data, NOBODY, NOBODY)
    async with command(data, python, user=NOBODY, group=NOBODY, extra_groups=[]) as (_, dsn):
        assert await answer(dsn) == 42
        assert {owner(keeper(data)), owner(postmaster(data))} == {NOBODY}


@pytest.mark.skipif(not ROOT, reason="only root drops its rights")
@pytest.mark.slow
async def test_roots_server_runs_as_somebody_else(data: Path) -> None:
    async with running(data, FAST):
        rights = status(postmaster(data))

    assert "0" not in rights["Uid"] + rights["Gid"] + rights["Groups"]
    assert set(rights["CapEff"] + rights["CapPrm"]) == {"0" * 16}


async def refused(data: Path) -> Broken:
    with pytest.raises(Broken) as error:
        async with running(data, FAST):
            pass
    return error.value


async def test_a_folder_with_other_things_is_left_alone(data: Path) -> None:
    put(data / "thesis.tex", "years of work")

    assert (await refused(data)).code == "db.not_our_folder"
    assert os.listdir(data) == ["thesis.tex"]


@pytest.mark.slow
async def test_a_folder_with_only_our_keys_is_ours(data: Path) -> None:
    put(data / "secret.key", "made by the vault")

    async with running(data, FAST) as dsn:
        assert await answer(dsn) == 42


async def test_a_file_in_the_way_is_one_sentence(data: Path) -> None:
    put(data, "a file")

    assert (await refused(data)).code == "db.not_our_folder"
    assert (await refused(data / "below")).code == "db.not_our_folder"


@pytest.mark.slow
async def test_another_major_version_is_refused(data: Path) -> None:
    async with running(data, FAST):
        pass
    await asyncio.to_thread(wait_for_the_end, data)
    (data / "postgres" / "cluster" / "PG_VERSION").write_text("16\n")

    error = await refused(data)
    assert error.code == "db.other_version"
    assert "PostgreSQL 16" in str(error)


@pytest.mark.slow
async def test_a_server_that_cannot_start_says_why(data: Path) -> None:
    with pytest.raises(model.NotStarted, match="shared_buffers"):
        async with running(data, ["shared_buffers=nonsense"]):
            pass


@pytest.mark.skipif(not ROOT, reason="only root can become another user")
async def test_a_folder_that_is_not_writable_is_one_sentence(data: Path) -> None:
    python = python_for_others(data.parent)
    async with command(data, python, user=NOBODY, group=NOBODY, extra_groups=[]) as (_, code):
        assert code == "db.not_writable"


@pytest.mark.skipif(not ROOT, reason="only root can mount")
@pytest.mark.slow
async def test_too_little_disk_is_refused_before_it_hurts(data: Path) -> None:
    put(data / "secret.key", "")
    mount = await asyncio.create_subprocess_exec(
        *("mount", "-t", "tmpfs", "-o", "size=100m", "none", str(data)), stderr=PIPE
    )
    await mount.communicate()
    if mount.returncode:
        pytest.skip("mounting is not permitted here")
    try:
        assert (await refused(data / "inner")).code == "db.disk_full"
    finally:
        await asyncio.to_thread(wait_for_the_end, data / "inner")
        umount = await asyncio.create_subprocess_exec("umount", "--lazy", str(data))
        await umount.wait()
