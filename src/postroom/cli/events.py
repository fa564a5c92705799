"""`postroom events`: read the log, follow it, seal it, verify it, export it."""

import os
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import mkstemp
from time import monotonic
from typing import Annotated, Any, BinaryIO, TypeAlias

import orjson
import typer

from postroom.accounts.model import Account
from postroom.cli import screen
from postroom.cli.installation import Installation, account_named, all_accounts, opened, unlocked
from postroom.cli.options import AsJson, Data, DatabaseUrl, command
from postroom.cli.run import carry_out
from postroom.errors import Conflict
from postroom.events import feed, seal
from postroom.events.answers import out
from postroom.events.check import UNREADABLE, Fault, Sealing, read_seal
from postroom.events.export import Exported, export
from postroom.events.model import TENANT, BadSeal, Entry, Place, Seal, Stream, stream_of
from postroom.events.verify import Verified, verify
from postroom.settings import Settings

app = command()

END = "end"
Names: TypeAlias = dict[Stream, Account]
Lines: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Write one line of JSON for each event, and nothing else.")
]
Of: TypeAlias = Annotated[
    str | None, typer.Option("--account", metavar="ADDRESS", help="Only this account's.")
]


class FileExists(Conflict):
    """A file is in the way that may be worth more than what would replace it."""

    code = "cli.file_exists"


@app.callback(invoke_without_command=True)
def main(
    ctx: typer.Context,
    account: Of = None,
    after: Annotated[
        str | None,
        typer.Option(metavar="CURSOR", help="Only what came after this cursor; `end`: only what comes."),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Wait for more, until Ctrl-C.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="How many at most.")] = None,
    data: Data = None,
    database_url: DatabaseUrl = None,
    as_json: Lines = False,
) -> None:
    """Read the log: everything that happened, in one order over all accounts."""
    if ctx.invoked_subcommand is None:
        carry_out(
            lambda settings: _show(settings, account, after, limit, follow=follow, as_json=as_json),
            data,
            database_url,
            as_json=as_json,
        )
    elif any((account, after, follow, limit, data, database_url, as_json)):
        raise typer.BadParameter(f"Options of `{ctx.invoked_subcommand}` stand behind it.")


@app.command("verify")
def verify_(
    account: Of = None,
    kept: Annotated[
        Path | None, typer.Option("--seal", metavar="FILE", help="A seal that you kept elsewhere.")
    ] = None,
    data: Data = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Find whatever was altered, removed, inserted or moved. Status 0 only if nothing was."""
    began = monotonic()
    found, names = carry_out(
        lambda settings: _verify(settings, account, kept), data, database_url, as_json=as_json
    )
    if as_json:
        screen.document(_report(found, names, monotonic() - began))
    else:
        for fault in found.findings:
            screen.say(_fault(fault, names))
        count = len(found.findings) + found.findings.more
        state = f"{count:,} faults" if count else "nothing is missing or altered"
        sealed = f"sealed up to seal {found.seal}" if found.seal else "never sealed"
        screen.say(f"{found.entries:,} events in {found.streams:,} streams, {sealed}: {state}")
    if found.findings:
        raise typer.Exit(1)


@app.command("seal")
def seal_(
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A file that is not there yet; else standard output.")
    ] = None,
    trust: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY", help="A public key that was yours: go on from what it has sealed."),
    ] = None,
    data: Data = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Sign how far the log has come. Keep the seal elsewhere: it shows that a tail was cut."""
    keys = [_public_key(key) for key in trust or ()]
    made = carry_out(
        lambda settings: _seal(settings, out and out.absolute(), keys), data, database_url, as_json=as_json
    )
    content = orjson.loads(made.body)
    if as_json:
        path = str(out.absolute()) if out else None
        streams = len(content["heads"])
        screen.document({"number": made.number, "key": content["key"], "streams": streams, "file": path})
    elif out is None:
        screen.say(seal.line(made).decode().rstrip())
    else:
        streams, key = len(content["heads"]), content["key"]
        screen.say(f"Seal {made.number} of {streams:,} streams is in {out}, signed with {key}.")


@app.command("export")
def export_(
    file: Annotated[Path, typer.Argument(help="A file that is not there yet.")],
    data: Data = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Write the whole log with its seals into a file that can be checked without postroom."""
    done = carry_out(lambda settings: _export(settings, file.absolute()), data, database_url, as_json=as_json)
    if as_json:
        screen.document({**asdict(done), "file": str(file.absolute())})
    else:
        screen.say(f"{done.entries:,} events of {done.streams:,} streams are in {file}.")


async def _show(
    settings: Settings,
    address: str | None,
    after: str | None,
    limit: int | None,
    *,
    follow: bool,
    as_json: bool,
) -> None:
    async with opened(settings) as house:
        stream = await _stream(house, address)
        place = await _place(house, after, stream)
        names = await _names(house)
        left = limit
        pages = _pages(house, place, stream)
        if follow:
            pages = feed.follow(house.database, house.hints, house.tenant, place, stream=stream)
        async with aclosing(pages):
            async for page in pages:
                shown = page[:left]
                if not names.keys() >= {entry.stream for entry in shown}:
                    names = await _names(house)  # connected since
                _print(shown, names, as_json=as_json)
                if left is not None and (left := left - len(shown)) == 0:
                    return


async def _place(house: Installation, after: str | None, stream: Stream | None) -> Place:
    async with house.database.transaction(house.tenant) as conn:
        if after == END:
            return await feed.end(conn, house.tenant)
        if after is not None:
            return await feed.place(conn, house.tenant, after, stream)
        removed = (await feed.state(conn, house.tenant)).removed_until
    if removed is not None:
        screen.warn(f"This is not the beginning: what was logged up to {removed:%Y-%m-%d} was removed.")
    return feed.START


async def _pages(
    house: Installation, place: Place, stream: Stream | None
) -> AsyncGenerator[list[Entry], None]:
    more = True
    while more:
        async with house.database.transaction(house.tenant) as conn:
            page = await feed.read(conn, house.tenant, place, stream=stream)
        if page:
            yield page
            place = feed.place_of(page[-1])
        more = bool(page)


def _print(entries: Iterable[Entry], names: Names, *, as_json: bool) -> None:
    """Nothing is kept back: somebody may be waiting for it."""
    write = _as_json if as_json else _as_text
    screen.say("\n".join(write(entry, names.get(entry.stream)) for entry in entries))


def _as_json(entry: Entry, account: Account | None) -> str:
    return orjson.dumps(out(entry, account.public_id if account else None), default=str).decode()


def _as_text(entry: Entry, account: Account | None) -> str:
    data = orjson.loads(entry.body)
    said = " ".join(f"{name}={_value(data[name])}" for name in data if name != "v")
    return f"{entry.at:%Y-%m-%d %H:%M:%S}  {_name(entry.stream, account)}  {entry.kind}  {screen.line(said)}"


def _value(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _name(stream: int, account: Account | None) -> str:
    """Of an account that is gone, only the number is left."""
    if account is not None:
        return screen.line(account.address)
    return "(all accounts)" if stream == TENANT else f"(stream {stream})"


async def _names(house: Installation) -> Names:
    return {stream_of(account.id): account for account in await all_accounts(house)}


async def _stream(house: Installation, address: str | None) -> Stream | None:
    return stream_of((await account_named(house, address)).id) if address is not None else None


async def _verify(settings: Settings, address: str | None, kept: Path | None) -> tuple[Verified, Names]:
    sealing = _kept(kept) if kept else None
    async with opened(settings) as house:
        stream = await _stream(house, address)
        keys = house.vault.public_keys
        found = await verify(house.database, house.tenant, keys, stream=stream, kept=sealing)
        return found, await _names(house)


def _kept(path: Path) -> Sealing:
    try:
        return read_seal(path.read_text("utf-8"))
    except UNREADABLE as error:
        raise BadSeal(f"{path} is not a seal as `postroom events seal` writes them.") from error


def _report(found: Verified, names: Names, seconds: float) -> dict[str, Any]:
    faults = []
    for fault in found.findings:
        account = names.get(Stream(fault.stream)) if fault.stream is not None else None
        faults.append({**asdict(fault), "account": account.public_id if account else None})
    return {
        "events": found.entries,
        "streams": found.streams,
        "seal": found.seal,
        "seconds": round(seconds, 3),
        "faults": faults,
        "more": found.findings.more,
    }


def _fault(fault: Fault, names: Names) -> str:
    account = names.get(Stream(fault.stream)) if fault.stream is not None else None
    return f"! {fault.message}{f' ({screen.line(account.address)})' if account else ''}"


def _public_key(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise typer.BadParameter(f"{text} is not a public key in hexadecimal.") from None


async def _seal(settings: Settings, out: Path | None, trusted: list[bytes]) -> Seal:
    async with unlocked(settings) as house:
        vault = house.vault
        older = [*vault.public_keys, *trusted]
        if out is None:
            return await seal.seal(house.database, vault.signer, house.tenant, older)
        with _new_file(out) as file:
            made = await seal.seal(house.database, vault.signer, house.tenant, older)
            file.write(seal.line(made))
        return made


async def _export(settings: Settings, path: Path) -> Exported:
    async with opened(settings) as house:
        with _new_file(path) as file:
            return await export(house.database, house.tenant, file)


@contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    """A file that is at `path` once the block has ended, whole, and never in the place of another."""
    descriptor, fresh = mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(descriptor)
        os.link(fresh, path)
    except FileExistsError:
        raise FileExists(f"{path} is there already; name a file that is not.") from None
    finally:
        Path(fresh).unlink()
