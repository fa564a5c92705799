"""How the API names the types of attachments."""

from collections.abc import Callable
from uuid import UUID

from fastapi import FastAPI
from servers.api import Client
from servers.copies import Copy
from servers.tenants import ANNS, ONE

from postroom.ids import AccountId, TenantId

Copies = Callable[[TenantId, AccountId], Copy]
LATIN = (
    b"Subject: text\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=iso-8859-1; name=a.txt\r\n"
    b"Content-Disposition: attachment\r\nContent-Transfer-Encoding: 8bit\r\n\r\ngr\xfc\xdfe\r\n"
)


async def attached(api: Client, id: UUID) -> tuple[str, bytes]:
    answer = await api.get(f"/v1/mail/messages/{id}/attachments/1")
    return answer.headers["Content-Type"], answer.content


async def test_a_text_of_its_own_charset_is_not_called_utf_8(api: Client, copy: Copies) -> None:
    [mail] = await copy(ONE, ANNS).deliver(LATIN)

    assert await attached(api, mail.public_id) == ("text/plain", b"gr\xfc\xdfe\r\n")


def test_the_document_says_that_an_attachment_can_be_of_any_type(app: FastAPI) -> None:
    operation = app.openapi()["paths"]["/v1/mail/messages/{id}/attachments/{number}"]["get"]

    assert list(operation["responses"]["200"]["content"]) == ["*/*"]
