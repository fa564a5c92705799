"""Make a mail ready for the index: its tsvector, with the facts that `compile` asks for. Pure."""

from postroom.db.codecs import encode_tsvector
from postroom.ids import TenantId
from postroom.text.vector import Field, Weight, document, encoded

from .compile import ATTACHMENT, account_fact, message_id_fact, tenant_fact
from .model import Row, Searchable


def prepare(tenant: TenantId, mail: Searchable) -> Row:
    """The row of one mail. CPU only, about 0.2 ms for an ordinary mail; any text is fine."""
    facts = [tenant_fact(tenant), account_fact(mail.account)]
    if mail.attachments:
        facts.append(ATTACHMENT)
    if mail.message_id:
        facts.append(message_id_fact(mail.message_id))
    fields = [
        Field(mail.subject, Weight.A, "s:"),
        Field(mail.sender, Weight.B, "f:"),
        Field(mail.to, Weight.C, "t:"),
        Field(mail.cc, Weight.C, "c:"),
    ]
    if mail.list_id:
        fields.append(Field(mail.list_id, Weight.C, "l:"))
    # Each name its own field: no phrase runs from one into the next. `report_2024.pdf` is three words.
    fields += [Field(name, Weight.C, "n:") for name in mail.attachments if name]
    if made := encoded(fields, mail.body, facts):
        vector, truncated = made
    else:
        slowly = document(fields, mail.body, facts)
        vector, truncated = encode_tsvector(slowly.vector), slowly.truncated
    return Row(mail.message, mail.account, mail.received_at, vector, truncated)
