"""`postroom export`: write an account's mail to a Maildir or to mbox files, byte for byte."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryFile, mkdtemp
from typing import Annotated, BinaryIO

import typer

from postroom.accounts.model import Account
from postroom.blobs import store as blobs
from postroom.blobs.store import NoSuchBlob
from postroom.cli import progress, screen
from postroom.cli.installation import Installation, account_named, opened
from postroom.cli.options import AsJson, Data, DatabaseUrl, command
from postroom.cli.run import carry_out
from postroom.errors import Conflict
from postroom.mail import content
from postroom.mail.store import export
from postroom.mail.store.export import ExportEntry, ExportFolder
from postroom.providers.files.maildir import MaildirWriter
from postroom.providers.files.mbox import MboxWriter
from postroom.settings import Settings
from postroom.sync.model import Counts

app = command()

PAGE = 100
BATCH_BYTES = 8 << 20
LARGE = 4 << 20
"""Bytes; larger messages pass through a temporary file."""


class Format(StrEnum):
    MAILDIR = "maildir"
    MBOX = "mbox"


Writer = MaildirWriter | MboxWriter
WRITERS: dict[Format, type[Writer]] = {Format.MAILDIR: MaildirWriter, Format.MBOX: MboxWriter}


class NotEmpty(Conflict):
    code = "cli.not_empty"


@dataclass(frozen=True, slots=True)
class Mail:
    entry: ExportEntry
    content: bytes | BinaryIO


@app.command()
def main(
    address: Annotated[str, typer.Argument(help="The account.")],
    path: Annotated[Path, typer.Argument(help="A folder that is not there yet, or empty.")],
    form: Annotated[Format, typer.Option("--format", help="What to write.")] = Format.MAILDIR,
    data: Data = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Write an account's mail to a Maildir or to mbox files, byte for byte; complete, or not at all."""
    counts = carry_out(
        lambda settings: _export(settings, address, path.absolute(), form, quiet=as_json),
        data,
        database_url,
        as_json=as_json,
    )
    if as_json:
        screen.document(
            {
                "address": address,
                "path": str(path.absolute()),
                "format": form,
                "folders": counts.folders,
                "messages": counts.done,
                "bytes": counts.bytes,
            }
        )
    else:
        size = screen.amount(counts.bytes)
        screen.say(f"{counts.done:,} messages ({size}) of {counts.folders} folders are in {path}.")


async def _export(settings: Settings, address: str, path: Path, form: Format, *, quiet: bool) -> Counts:
    async with opened(settings) as house:
        account = await account_named(house, address)
        counts = Counts()
        with _appearing(path) as fresh:
            async with progress.shown({account.address: counts}, quiet=quiet):
                await _write(house, account, WRITERS[form](fresh), counts)
    return counts


@contextmanager
def _appearing(path: Path) -> Iterator[Path]:
    """A folder to write into, which is at `path` once the block has ended, and gone if it failed."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise NotEmpty(f"{path} is there already; name a folder that is not, or an empty one.")
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield fresh
        fresh.rename(path)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


async def _write(house: Installation, account: Account, writer: Writer, counts: Counts) -> None:
    async with house.database.transaction(house.tenant) as conn:
        folders = await export.folders(conn, house.tenant, account.id)
    counts.total, counts.folders = sum(folder.messages for folder in folders), len(folders)
    try:
        for folder in folders:
            writer.add_folder(folder.path, folder.delimiter)
            async for batch in _mails(house, folder):
                counts.bytes += await asyncio.to_thread(_write_all, writer, folder, batch)
                counts.done += len(batch)
    finally:
        writer.close()


async def _mails(house: Installation, folder: ExportFolder) -> AsyncIterator[list[Mail]]:
    """A folder's messages in batches that memory can hold. No transaction is open while one is written."""
    after = export.BEFORE_ALL
    while True:
        async with house.database.transaction(house.tenant) as conn:
            entries = await export.entries(conn, house.tenant, folder.id, after, PAGE)
        if not entries:
            return
        batch: list[Mail] = []
        size = 0
        for entry in entries:
            after = entry.uid
            with suppress(NoSuchBlob):  # removed a moment ago
                batch.append(Mail(entry, await _content(house, entry)))
                size += min(entry.size, LARGE)
            if size >= BATCH_BYTES:
                break
        yield batch


async def _content(house: Installation, entry: ExportEntry) -> bytes | BinaryIO:
    if entry.size <= LARGE:
        async with house.database.transaction(house.tenant) as conn:
            return await blobs.read_all(conn, house.tenant, entry.digest)
    file = TemporaryFile()  # noqa: SIM115  _write_all closes it
    async for piece in content.read(house.database, house.tenant, entry.digest, 0, entry.size):
        file.write(piece)
    file.seek(0)
    return file


def _write_all(writer: Writer, folder: ExportFolder, batch: Iterable[Mail]) -> int:
    """Bytes written."""
    written = 0
    for mail in batch:
        entry = mail.entry
        writer.write(
            folder.path, folder.delimiter, mail.content, flags=entry.flags, received_at=entry.received_at
        )
        written += entry.size
        if not isinstance(mail.content, bytes):
            mail.content.close()
    return written
