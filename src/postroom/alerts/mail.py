"""Tell the operator by mail."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from functools import partial
from uuid import UUID

from postroom.net import smtp
from postroom.net.egress import Egress

from .model import LIST, Channel, Digest, Message

SAYS = {
    "accounts.reauth_required": "an account needs its owner",
    "accounts.stale": "an account is stale",
    "events.seal_refused": "a log is not the one that was sealed",
    "jobs.failed": "a job failed for good",
    "sync.watch_lapsed": "a server tells of nothing any more",
    "webhooks.failing": "a webhook is not delivered",
}


@dataclass(frozen=True, slots=True)
class ByMail:
    """A plain mail, known again by its Message-ID."""

    to: str
    sender: str
    server: smtp.Server
    allowed: Egress
    channel: Channel = Channel.MAIL

    async def tell(self, message: Message | Digest) -> None:
        write = partial(summed, message) if isinstance(message, Digest) else partial(written, message)
        await smtp.send(self.server, write(self.sender, self.to), self.allowed)


def written(message: Message, sender: str, to: str) -> EmailMessage:
    """What is said of it: ids and codes, and nothing of any mail."""
    alert = message.alert
    at = alert.closed_at if message.is_over and alert.closed_at else alert.opened_at
    subject = f"{'over: ' if message.is_over else ''}{SAYS.get(alert.kind, alert.kind)}"
    told = {
        "alert": alert.public_id,
        "kind": alert.kind,
        "subject": alert.subject,
        "code": alert.code,
        "tenant": message.tenant_id,
        "opened": alert.opened_at,
        "closed": alert.closed_at if message.is_over else None,
    }
    lines = [f"{name}: {value}" for name, value in told.items() if value is not None]
    name = message.public_id if message.is_over else alert.public_id  # so that the end answers the beginning
    mail = _mail(name, sender, to, subject, at, lines)
    if message.is_over:
        mail["In-Reply-To"] = f"<{alert.public_id}@postroom.invalid>"
    return mail


def summed(many: Digest, sender: str, to: str) -> EmailMessage:
    """Their numbers, and where they are listed."""
    lines = [f"{_numbers(many.opened, many.closed)}, by kind and code:", ""]
    for count in many.counts:
        code = f" [{count.code}]" if count.code else ""
        lines.append(f"{count.kind}{code}: {_numbers(count.opened, count.closed)}")
    lines += ["", f"Those that are open: GET {LIST}"]
    subject = f"{many.opened + many.closed:,} changes of alerts"
    return _mail(many.public_id, sender, to, subject, many.at, lines)


def _numbers(opened: int, closed: int) -> str:
    told = (f"{number:,} {what}" for number, what in ((opened, "opened"), (closed, "closed")) if number)
    return ", ".join(told)


def _mail(
    public_id: UUID, sender: str, to: str, subject: str, at: datetime, lines: Iterable[str]
) -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"] = Address(addr_spec=sender), Address(addr_spec=to)
    mail["Subject"] = f"postroom: {subject}"
    mail["Date"] = format_datetime(at)
    mail["Message-ID"] = f"<{public_id}@postroom.invalid>"
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody answers this by itself
    mail.set_content("".join(f"{line}\n" for line in lines))
    return mail
