"""Real and crooked mails that others collected, where they lie beside the project.

`test_agreement.py` compares what we read in them with what others did.
"""

import json
import time
from collections.abc import Callable, Iterator

import pytest
from fuzz.mime_path import check
from mime.agreement import CORPORA
from servers.copies import Copy
from servers.tenants import ANNS, ONE

from postroom.blobs import store as blobs
from postroom.db.pool import Database
from postroom.ids import AccountId, TenantId

SAMPLE = 5  # one mail in so many goes through PostgreSQL

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CORPORA.exists(), reason="needs the shared corpora beside the project"),
]


def mails() -> Iterator[tuple[str, bytes]]:
    """Every file of every collection, those that are no mails as well; mboxes mail by mail, too."""
    for path in sorted(path for path in CORPORA.rglob("*") if path.is_file()):
        raw, name = path.read_bytes(), str(path.relative_to(CORPORA))
        yield name, raw
        if raw.startswith(b"From "):
            for number, mail in enumerate((b"\n" + raw).split(b"\nFrom ")[1:]):
                yield f"{name} {number}", mail.partition(b"\n")[2]


def test_every_mail_is_read_within_a_second_without_an_error_and_comes_out_as_it_went_in() -> None:
    count = 0
    for name, raw in mails():
        start = time.thread_time()
        check(raw)
        assert time.thread_time() - start < 1, name
        count += 1

    assert count > 1_700


@pytest.mark.usefixtures("tenants")
async def test_what_is_stored_of_them_comes_out_of_the_database_as_it_went_in(
    db: Database, copy: Callable[[TenantId, AccountId], Copy]
) -> None:
    sample = {raw for _, raw in list(mails())[::SAMPLE]}
    added = await copy(ONE, ANNS).deliver(*sample)

    found = set[bytes]()
    async with db.transaction(ONE) as conn:
        for one in added:
            digest = await conn.fetchval("SELECT digest FROM mail_message WHERE id = $1", one.id)
            found.add(await blobs.read_all(conn, ONE, digest))
    assert found == sample


def test_naughty_strings_are_subjects_names_and_words() -> None:
    for text in json.loads((CORPORA / "blns" / "blns.json").read_text()):
        line = text.encode("utf-8", "surrogatepass").replace(b"\n", b" ").replace(b"\r", b" ")
        raw = b"From: %b <a@b.c>\r\nSubject: %b\r\nContent-Type: text/html\r\n\r\n%b\r\n" % (line, line, line)
        check(raw)
