"""List the folders of an IMAP server, as well as it can.

LIST RETURN (SPECIAL-USE STATUS (...))   one round trip for everything
  └─ refused, or lists nothing ─> LIST RETURN (SPECIAL-USE) ─> LIST "" "*"
                                        └──────────────────────────┴─> STATUS of each, many under way
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from postroom.imap import commands, names
from postroom.imap import responses as said
from postroom.imap.commands import Command
from postroom.imap.errors import CommandFailed
from postroom.imap.quirks import Quirk
from postroom.providers.imap.conversation import Conversation
from postroom.providers.imap.failures import throttled
from postroom.providers.imap.roles import with_roles
from postroom.providers.model import FolderStatus, Incomplete, RemoteFolder

INBOX = b"INBOX"
NOT_SELECTABLE = {"\\noselect", "\\nonexistent"}


async def list_folders(conversation: Conversation) -> list[RemoteFolder]:
    """Every folder once. Raises `Incomplete` when the server lists none: an empty list would be a lie."""
    failure: CommandFailed | None = None
    for command in _ladder(conversation):
        try:
            answers = await conversation.run(command, _of_list)
        except CommandFailed as error:
            if throttled(error):
                raise
            failure = error
            continue
        if folders := _folders(conversation, answers):
            return folders
    if failure is not None:
        raise failure
    host = conversation.settings.host
    raise Incomplete(
        f"{host} lists no folder at all, not even INBOX; nothing is concluded from that.", host=host
    )


async def with_status(conversation: Conversation, folders: Sequence[RemoteFolder]) -> list[RemoteFolder]:
    """The folders with their status, asked for where the list did not tell; who refuses it has none.

    To be asked while no folder is open (RFC 9051, 6.3.11).
    """
    asked = [folder for folder in folders if folder.selectable and folder.status is None]
    if not asked:
        return list(folders)
    told: dict[bytes, FolderStatus] = {}

    def take(answer: said.Response) -> None:
        if isinstance(answer, said.FolderStatus):
            told[identity(answer.name)] = status_of(answer.items)

    items = status_items(conversation)
    ended = await conversation.each((commands.status(folder.name, items) for folder in asked), take)
    for one in ended:
        if one.failure is not None and throttled(one.failure):
            raise one.failure
    return [replace(folder, status=folder.status or told.get(folder.name)) for folder in folders]


def _ladder(conversation: Conversation) -> Iterator[Command]:
    extended = conversation.offers("LIST-EXTENDED", "LIST-STATUS", "IMAP4REV2")
    if extended and Quirk.PLAIN_LIST not in conversation.quirks:
        special = conversation.offers("SPECIAL-USE", "IMAP4REV2")
        if conversation.offers("LIST-STATUS", "IMAP4REV2"):
            yield commands.list_folders(special_use=special, status=status_items(conversation))
        if special:
            yield commands.list_folders(special_use=True)
    yield commands.list_folders()


def status_items(conversation: Conversation) -> list[str]:
    """What STATUS can be asked for here; an item that a server does not know fails the whole command.

    Not SIZE: to add it up, some servers open every message. Only an estimate is worth that.
    """
    items = ["MESSAGES", "UIDNEXT", "UIDVALIDITY"]
    if conversation.offers("CONDSTORE", "QRESYNC"):
        items.append("HIGHESTMODSEQ")
    if conversation.offers("OBJECTID"):
        items.append("MAILBOXID")
    return items


def _of_list(response: said.Response) -> bool:
    return isinstance(response, said.Listed | said.FolderStatus)


def _folders(conversation: Conversation, answers: Sequence[said.Response]) -> list[RemoteFolder]:
    utf8 = "UTF8=ACCEPT" in conversation.session.enabled
    numbers = {identity(a.name): a.items for a in answers if isinstance(a, said.FolderStatus)}
    found: dict[bytes, tuple[RemoteFolder, frozenset[str]]] = {}
    for one in answers:
        if not isinstance(one, said.Listed) or one.lsub or not one.name:
            continue
        name = identity(one.name)
        if name in found:
            continue
        status = numbers.get(name)
        folder = RemoteFolder(
            name=name,
            path=_storable(names.decode(name, utf8=utf8)),
            delimiter=_storable(one.delimiter.decode("utf-8", "replace")) if one.delimiter else None,
            selectable=not one.attributes & NOT_SELECTABLE,
            status=status_of(status) if status is not None else None,
        )
        found[name] = (folder, one.attributes)
    if found and INBOX not in found:  # there is one, listed or not (RFC 9051, 5.1): who opens it will see
        found[INBOX] = (RemoteFolder(INBOX, INBOX.decode()), frozenset())
    return with_roles(list(found.values()))


def _storable(text: str) -> str:
    """PostgreSQL has no NUL in texts."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def identity(name: bytes) -> bytes:
    """The raw bytes; only INBOX is the same in any case (RFC 9051, 5.1)."""
    return INBOX if name.upper() == INBOX else name


def status_of(items: Mapping[str, int | str | None]) -> FolderStatus:
    """The numbers of a STATUS answer; what is not a number was not said."""

    def number(key: str) -> int | None:
        value = items.get(key)
        return value if isinstance(value, int) and value >= 0 else None

    named = items.get("MAILBOXID")
    return FolderStatus(
        messages=number("MESSAGES"),
        validity=number("UIDVALIDITY") or None,
        uid_next=number("UIDNEXT") or None,
        modseq=number("HIGHESTMODSEQ") or None,
        size=number("SIZE"),
        object_id=named if isinstance(named, str) else None,
    )
