"""IMAP servers as a `Provider`: connect, log in, and say how much there is.

net.egress ─> TLS ─> greeting ─> STARTTLS ─> CAPABILITY ─> login ─> CAPABILITY ─> ID ─> ENABLE ─> ImapMailbox
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import islice

import structlog

from postroom import __version__
from postroom.imap import commands, quirks
from postroom.imap.aio import Session, StartTls
from postroom.imap.aio import connect as begin
from postroom.imap.errors import CommandFailed, LocalError, NoMechanism
from postroom.imap.framing import Limits
from postroom.imap.quirks import Quirk
from postroom.imap.responses import FolderStatus as StatusSaid
from postroom.imap.responses import Response, ServerId
from postroom.net import egress, tls
from postroom.net.egress import Egress
from postroom.providers.imap.compression import Compress
from postroom.providers.imap.conversation import SPOOL_OVER, Conversation, Patience
from postroom.providers.imap.failures import folder_refused, translated
from postroom.providers.imap.folder import ImapFolder
from postroom.providers.imap.listing import identity, list_folders, status_items, status_of, with_status
from postroom.providers.imap.settings import Auth, ImapSettings, Security
from postroom.providers.imap.shown import shown
from postroom.providers.imap.watch import ImapWatching, can_tell
from postroom.providers.model import (
    Estimate,
    FolderGone,
    FolderStatus,
    Incomplete,
    Login,
    Mailbox,
    Notice,
    RemoteFolder,
    SentAway,
    ServerRefused,
    TlsRefused,
    TokenRefused,
    Unreachable,
    WrongPassword,
)
from postroom.providers.spent import Spent

GREETING = 20  # seconds from the connection to a session that may log in
MOST_IN_CLEAR = 1000  # hosts that we do not compress with any more, as it broke or slowed down what came
SAMPLE = 100  # UIDs looked at in each of three places of a folder
MOST_SAMPLED = 10  # folders
MOST_TRIED = 10  # folders, until one can be watched
# SEARCH says all its numbers on one line: 16 MB are those of two million messages.
LIMITS = Limits(line=16 << 20, spool_over=SPOOL_OVER)
START = {
    Security.TLS: StartTls.OFF,
    Security.PLAIN: StartTls.OFF,
    Security.AUTO: StartTls.AUTO,
    Security.STARTTLS: StartTls.REQUIRE,
}

logger = structlog.get_logger()


class ImapProvider:
    """Any server that speaks IMAP4rev1 (RFC 3501) or IMAP4rev2 (RFC 9051)."""

    kind = "imap"

    def __init__(self, allowed: Egress) -> None:
        self._egress = allowed
        self._broken: deque[str] = deque(maxlen=MOST_IN_CLEAR)  # hosts that compressing led astray
        self._slower: deque[str] = deque(maxlen=MOST_IN_CLEAR)  # through which less came then

    @asynccontextmanager
    async def open(self, login: Login) -> AsyncIterator["ImapMailbox"]:
        """Connect and log in. Raises the port's errors, and `net.EgressRefused`."""
        settings, spent = ImapSettings.of(login), login.spent
        patience = Patience()
        async with AsyncExitStack() as stack:
            with translated(settings):
                session = await self._connected(settings, patience, stack, spent)
                conversation = Conversation(session, patience, settings)
                stack.enter_context(spent.counting(conversation))
                spent.logins += 1
                await _log_in(conversation, login.secret)
                await _introduce(conversation)
            conversation.in_clear |= self._is_better_in_clear(settings)
            try:
                yield ImapMailbox(conversation)
            finally:
                if conversation.breaks_compressed:
                    self._broken.append(settings.host)
                elif conversation.is_slower_compressed:
                    self._slower.append(settings.host)

    def _is_better_in_clear(self, settings: ImapSettings) -> bool:
        is_slower = settings.compress is Compress.AUTO and settings.host in self._slower
        return is_slower or settings.host in self._broken

    async def _connected(
        self, settings: ImapSettings, patience: Patience, stack: AsyncExitStack, spent: Spent
    ) -> Session:
        context = None if settings.security is Security.PLAIN else tls.client_context(settings.ca_file)
        sock = await egress.connect(settings.host, settings.port, self._egress)
        stack.callback(sock.close)
        spent.connections += 1
        opening = begin(
            settings.host,
            settings.port,
            tls=context,
            starttls=START[settings.security],
            sock=sock,
            limits=LIMITS,
            open_spool=patience.spool,
        )
        try:
            with tls.handshake_with(settings.host):
                async with asyncio.timeout(GREETING):
                    return await stack.enter_async_context(opening)
        except TimeoutError as error:
            raise Unreachable(_no_greeting(settings), host=settings.host) from error

    async def estimate(self, mailbox: Mailbox, folders: Sequence[RemoteFolder]) -> Estimate:
        """Messages by STATUS; bytes by STATUS too where the server knows, else by looking at some."""
        assert isinstance(mailbox, ImapMailbox)  # as `open` gives it
        return await mailbox.estimate(folders)


def _no_greeting(settings: ImapSettings) -> str:
    said = f"{settings.host} accepts connections on port {settings.port} and then says nothing"
    if settings.security is Security.TLS:
        return f"{said}."
    return f"{said}; perhaps it speaks TLS from the start there: try imaps://{settings.host}:{settings.port}."


async def _log_in(conversation: Conversation, secret: str) -> None:
    session, settings = conversation.session, conversation.settings
    with_token = settings.auth is Auth.OAUTH2
    if with_token and not (session.encrypted or session.on_this_machine):
        raise TlsRefused(
            f"{settings.host} is reached without TLS: no access token was sent. Use imaps:// or STARTTLS.",
            host=settings.host,
        )
    try:
        async with conversation.patience.waiting():
            if with_token:
                await session.log_in_with_token(settings.username, secret, mechanism=settings.mechanism)
            else:
                await session.log_in(settings.username, secret, mechanism=_mechanism(conversation))
    except NoMechanism:
        raise
    except LocalError as error:  # nothing was sent
        if with_token:
            raise TokenRefused("The access token holds what no token can hold.") from error
        raise WrongPassword(
            "The user name or the password holds a line end, a NUL or half a character, which cannot be sent "
            "to a server."
        ) from error


def _mechanism(conversation: Conversation) -> str | None:
    """Exchange knows shared mailboxes (`ann@example.org\\team`) by LOGIN only."""
    settings = conversation.settings
    shared = "\\" in settings.username and not conversation.offers("LOGINDISABLED")
    return settings.mechanism or ("LOGIN" if shared else None)


async def _introduce(conversation: Conversation) -> None:
    """Say who we are (163.com opens no folder otherwise), learn who it is, enable what helps."""
    session = conversation.session
    said: ServerId | None = None
    if conversation.offers("ID"):
        with suppress(CommandFailed):
            identify = commands.identify(name="postroom", version=__version__)
            answers = await conversation.run(identify, lambda answer: isinstance(answer, ServerId))
            said = next((one for one in answers if isinstance(one, ServerId)), None)
    conversation.quirks = quirks.of(session.greeting, said, conversation.settings.host)
    if wanted := _worth_enabling(conversation):
        conversation.ahead = [commands.enable(*wanted)]  # whoever refuses it is asked as if it had none


def _worth_enabling(conversation: Conversation) -> list[str]:
    if not conversation.offers("ENABLE", "IMAP4REV2"):
        return []
    if conversation.offers("QRESYNC") and Quirk.NO_QRESYNC not in conversation.quirks:
        return ["QRESYNC"]  # and with it CONDSTORE (RFC 7162, 3.2.5)
    return ["CONDSTORE"] if conversation.offers("CONDSTORE") else []


def _nothing(_answer: Response) -> bool:
    """Of the responses none is kept."""
    return False


class ImapMailbox:
    """A `Mailbox`: one conversation, one call at a time."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._has_listed = False
        self._watching: ImapWatching | None = None

    @property
    def speed(self) -> float | None:
        """As the session measures it while literals arrive."""
        return self._conversation.session.speed

    async def folders(self) -> Sequence[RemoteFolder]:
        """Every folder, first with its status."""
        await self._free()
        with translated(self._conversation.settings):
            found = await list_folders(self._conversation)
            if not self._has_listed:
                found = await with_status(self._conversation, found)
        self._has_listed = True
        return found

    async def open(self, folder: RemoteFolder) -> ImapFolder:
        """EXAMINE: nothing that we do in it marks a message as seen. Raises `FolderGone`, `ServerRefused`."""
        await self._free()
        settings = self._conversation.settings
        if not folder.selectable:
            raise FolderGone(f"{folder.path} holds folders only, no messages.", path=folder.path)
        if not commands.can_be_sent(folder.name):
            raise ServerRefused(
                f"The name of {shown(folder.path)} holds a line end or a NUL, which cannot be sent to "
                f"{settings.host}.",
                path=folder.path,
            )
        condstore = self._conversation.offers("CONDSTORE", "QRESYNC")
        with translated(settings):
            try:
                await self._conversation.run(
                    commands.select(folder.name, read_only=True, condstore=condstore), _nothing
                )
            except CommandFailed as error:
                raise folder_refused(error, folder.path, settings) from error
        return ImapFolder(self._conversation, folder, self._proven(folder))

    async def watch(
        self, folders: Sequence[RemoteFolder], told: Callable[[Notice], None]
    ) -> ImapWatching | None:
        """By NOTIFY of all folders, else by IDLE of the first that can be opened."""
        await self._free()
        conversation = self._conversation
        opened = await self._first(folders) if can_tell(conversation) else None
        if opened is None:
            return None
        watching = ImapWatching(conversation, told, opened.folder, opened.status)
        with translated(conversation.settings):
            self._watching = watching if await watching.begin(folders) else None
        return self._watching

    async def _first(self, folders: Sequence[RemoteFolder]) -> ImapFolder | None:
        """The first that the server opens; None: none of `MOST_TRIED`. Raises `TryLater`."""
        for folder in islice((one for one in folders if one.selectable), MOST_TRIED):
            try:
                return await self.open(folder)
            except SentAway:
                raise
            except (FolderGone, ServerRefused, Incomplete) as error:
                logger.info("providers.not_watched", path=shown(folder.path), code=error.code)
        return None

    async def ping(self) -> None:
        await self._free()
        with translated(self._conversation.settings):
            await self._conversation.run(commands.noop(), _nothing)

    async def rest(self) -> bool:
        """Leave the open folder, of which a server goes on telling. CLOSE expunges nothing after EXAMINE."""
        conversation, session = self._conversation, self._conversation.session
        with translated(conversation.settings):
            await self._end_watch()
            if session.usable and session.selected is not None:
                leave = commands.unselect() if conversation.offers("UNSELECT") else commands.close()
                await conversation.run(leave, _nothing)
        self._has_listed = False
        return session.usable and not conversation.is_slower_compressed

    async def estimate(self, folders: Sequence[RemoteFolder]) -> Estimate:
        """See `ImapProvider.estimate`."""
        await self._free()
        chosen = [f for f in folders if f.selectable and commands.can_be_sent(f.name)]
        with translated(self._conversation.settings):
            statuses = await self._statuses(chosen)
        sizes = [status.size for status in statuses if status.messages]
        messages = sum(status.messages or 0 for status in statuses)
        known = [size for size in sizes if size is not None]
        total = sum(known) if len(known) == len(sizes) else await self._sampled(chosen, statuses, messages)
        return Estimate(folders=len(chosen), messages=messages, bytes=total)

    async def _free(self) -> None:
        """Ready for a call: nobody is told of anything any more."""
        settings = self._conversation.settings
        with translated(settings):
            await self._end_watch()
        if not self._conversation.session.usable:
            raise Unreachable(f"The conversation with {settings.host} is over.", host=settings.host)

    async def _end_watch(self) -> None:
        watching, self._watching = self._watching, None
        if watching is not None:
            await watching.end()

    def _proven(self, folder: RemoteFolder) -> FolderStatus:
        selected = self._conversation.session.selected
        if selected is None or selected.exists is None:
            host = self._conversation.settings.host
            raise Incomplete(
                f"{host} opened {folder.path} without saying how much is in it.", path=folder.path
            )
        return FolderStatus(
            selected.exists,
            selected.validity,
            selected.uid_next,
            selected.highest_modseq,
            object_id=selected.mailbox_id,
        )

    async def _statuses(self, folders: Sequence[RemoteFolder]) -> list[FolderStatus]:
        """Of each folder, asked for where the list did not tell; a folder that refuses counts as empty."""
        sizes = self._conversation.offers("STATUS=SIZE", "IMAP4REV2")
        asked = [folder for folder in folders if sizes or folder.status is None]
        items = [*status_items(self._conversation), *(["SIZE"] if sizes else [])]
        told: dict[bytes, FolderStatus] = {}

        def take(answer: Response) -> None:
            if isinstance(answer, StatusSaid):
                told[identity(answer.name)] = status_of(answer.items)

        await self._conversation.each((commands.status(folder.name, items) for folder in asked), take)
        return [told.get(folder.name) or folder.status or FolderStatus() for folder in folders]

    async def _sampled(
        self, folders: Sequence[RemoteFolder], statuses: Sequence[FolderStatus], messages: int
    ) -> int | None:
        """All messages times the mean of some; None where the server tells no sizes."""
        by_count = sorted(zip(folders, statuses, strict=True), key=lambda pair: -(pair[1].messages or 0))
        seen: list[int] = []
        for folder, status in by_count[:MOST_SAMPLED]:
            if status.messages:
                try:
                    seen += await self._some_sizes(folder)
                except (FolderGone, ServerRefused):
                    continue
        return round(messages * sum(seen) / len(seen)) if seen else None

    async def _some_sizes(self, folder: RemoteFolder) -> list[int]:
        opened = await self.open(folder)
        last = (opened.status.uid_next or opened.status.messages or 1) - 1
        starts = {max(1, round(last * part) - SAMPLE + 1) for part in (0.33, 0.66, 1.0)}
        return [size for low in sorted(starts) for size in await opened.sizes(low, low + SAMPLE - 1)]
