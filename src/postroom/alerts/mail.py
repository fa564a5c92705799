"""Tell the operator by mail."""

from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime

from postroom.net import smtp
from postroom.net.egress import Egress

from .model import Channel, Message

SAYS = {
    "accounts.reauth_required": "an account needs its owner",
    "accounts.stale": "an account is stale",
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

    async def tell(self, message: Message) -> None:
        await smtp.send(self.server, written(message, self.sender, self.to), self.allowed)


def written(message: Message, sender: str, to: str) -> EmailMessage:
    """What is said of it: ids and codes, and nothing of any mail."""
    alert = message.alert
    at = alert.closed_at if message.is_over and alert.closed_at else alert.opened_at
    mail = EmailMessage()
    mail["From"], mail["To"] = Address(addr_spec=sender), Address(addr_spec=to)
    mail["Subject"] = f"postroom: {'over: ' if message.is_over else ''}{SAYS.get(alert.kind, alert.kind)}"
    mail["Date"] = format_datetime(at)
    mail["Message-ID"] = f"<{message.public_id}@postroom.invalid>"
    if message.is_over:
        mail["In-Reply-To"] = f"<{alert.public_id}@postroom.invalid>"
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody answers this by itself
    told = {
        "alert": alert.public_id,
        "kind": alert.kind,
        "subject": alert.subject,
        "code": alert.code,
        "tenant": message.tenant_id,
        "opened": alert.opened_at,
        "closed": alert.closed_at if message.is_over else None,
    }
    mail.set_content("".join(f"{name}: {value}\n" for name, value in told.items() if value is not None))
    return mail
