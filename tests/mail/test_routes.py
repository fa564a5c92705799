import json
from base64 import encodebytes
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from servers.api import Client, key_of
from servers.copies import START, Copy
from servers.tenants import ANNS, BOBS, ONE, TWO

from postroom.blobs.pack import CHUNK
from postroom.db.pool import Database
from postroom.ids import AccountId, TenantId
from postroom.mail import content
from postroom.mail.model import Came
from postroom.mime.html import sanitise
from postroom.mime.parse import parse
from postroom.providers.model import FolderRole

Copies = Callable[[TenantId, AccountId], Copy]


@pytest.fixture
def ann(copy: Copies, tenants: None) -> Copy:  # noqa: ARG001  # they must be there first
    return copy(ONE, ANNS)


@pytest.fixture
async def bob(copy: Copies, tenants: None) -> Copy:  # noqa: ARG001
    return copy(TWO, BOBS)


def plain(number: int, sender: str = "Cid <cid@example.org>", *, answers: int | None = None) -> bytes:
    reply = f"In-Reply-To: <mail-{answers}@example.org>\r\n" if answers is not None else ""
    return (
        f"Message-ID: <mail-{number}@example.org>\r\n{reply}From: {sender}\r\nTo: Ann <ann@example.org>\r\n"
        f"Date: Thu, 1 Jan 2026 00:{number:02}:00 +0000\r\nSubject: number {number}\r\n\r\n"
        f"{'word ' * 50}{number}\r\n"
    ).encode()


RICH = (
    b"From: Cid <cid@example.org>\r\nTo: ann@example.org\r\nSubject: rich\r\nMIME-Version: 1.0\r\n"
    b"List-Id: <list.example.org>\r\nX-Own: hidden\r\nContent-Type: multipart/mixed; boundary=B\r\n\r\n"
    b"--B\r\nContent-Type: text/html\r\n\r\n"
    b'<p onclick="x()">hi <script>alert(1)</script><img src="https://spy.example/p.gif"></p>\r\n'
    b"--B\r\nContent-Type: text/html\r\nContent-Disposition: attachment; filename=evil.html\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\n" + encodebytes(b"<script>alert(2)</script>") + b"\r\n"
    b"--B\r\nContent-Type: image/png\r\n"
    b"Content-Disposition: attachment; filename*=UTF-8''gr%C3%BC%C3%9F.png\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\n" + encodebytes(b"\x89PNG" * 100) + b"\r\n--B--\r\n"
)


async def items(api: Client, query: str = "", of: str = "messages") -> list[dict[str, Any]]:
    answer = await api.get(f"/v1/mail/{of}?{query}")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


async def subjects(api: Client, query: str = "") -> list[str]:
    return [item["subject"].removeprefix("number ") for item in await items(api, query)]


async def test_a_row_says_what_a_list_shows(api: Client, ann: Copy) -> None:
    [mail] = await ann.deliver(plain(1), flags=("\\Seen", "$Forwarded"))
    [row] = await items(api)

    assert row["id"] == str(mail.public_id)
    assert row["account"] == str(await ann.id())
    assert row["from"] == {"name": "Cid", "address": "cid@example.org"}
    assert row["to"] == [{"name": "Ann", "address": "ann@example.org"}]
    assert (row["read"], row["starred"], row["answered"], row["draft"]) == (True, False, False, False)
    assert row["flags"] == ["$Forwarded", "\\Seen"]
    assert [folder["role"] for folder in row["folders"]] == ["inbox"]
    assert len(row["preview"]) == 100
    assert row["received_at"] == (START + timedelta(minutes=1)).isoformat().replace("+00:00", "Z")
    assert (row["attachment_count"], row["size"], row["priority"]) == (0, len(plain(1)), None)
    assert "digest" not in row
    assert "number" not in row


async def test_pages_by_number_and_by_cursor_show_every_message_once(api: Client, ann: Copy) -> None:
    await ann.deliver(*(plain(number) for number in range(7)), at=START)  # all at one moment: the id decides
    by_page, by_cursor, cursor = [], [], ""
    for page in range(1, 5):
        answer = (await api.get(f"/v1/mail/messages?page={page}&page_size=2")).json()
        by_page += [item["id"] for item in answer["items"]]
        assert (answer["page"], answer["page_size"], answer["total"]) == (page, 2, 7)
        assert (answer["has_prev"], answer["has_next"]) == (page > 1, page < 4)
        assert answer["total_is_exact"]
    while True:
        answer = (await api.get(f"/v1/mail/messages?page_size=3{cursor}")).json()
        by_cursor += [item["id"] for item in answer["items"]]
        assert answer["has_prev"] == bool(cursor)
        if not answer["has_next"]:
            break
        cursor = "&cursor=" + answer["next"]

    assert by_page == by_cursor
    assert len(set(by_page)) == 7
    assert answer["next"] is None


@pytest.mark.parametrize("query", ["", "folder=INBOX", "read=false"])
async def test_a_total_beyond_the_bound_says_that_there_are_more(
    api: Client, ann: Copy, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    monkeypatch.setattr("postroom.mail.routes.COUNTED", 3)
    await ann.deliver(*(plain(number) for number in range(3)))
    exact = (await api.get(f"/v1/mail/messages?{query}")).json()
    await ann.deliver(plain(3), plain(4))
    bound = (await api.get(f"/v1/mail/messages?{query}&page_size=2&page=2")).json()

    assert (exact["total"], exact["total_is_exact"]) == (3, True)
    assert (bound["total"], bound["total_is_exact"]) == (3, False)
    assert (len(bound["items"]), bound["has_next"]) == (2, True)


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", "3210"),
        ("order=asc", "0123"),
        ("sort_by=sender", "1203"),
        ("sort_by=sender&order=desc", "3021"),
    ],
)
async def test_lists_come_in_the_order_asked_for_on_every_page(
    api: Client, ann: Copy, query: str, wanted: str
) -> None:
    senders = ["b@x.org", "a@x.org", "a@x.org", "c@x.org"]
    await ann.deliver(*(plain(number, sender) for number, sender in enumerate(senders)))
    assert "".join(await subjects(api, query)) == wanted

    found, cursor = "", ""
    while cursor is not None:
        answer = (
            await api.get(f"/v1/mail/messages?page_size=1&{query}{cursor and '&cursor=' + cursor}")
        ).json()
        found += answer["items"][0]["subject"][-1]
        cursor = answer["next"]
    assert found == wanted


async def test_each_filter_keeps_what_it_says(api: Client, ann: Copy, db: Database) -> None:
    await ann.deliver(plain(0), flags=("\\Seen",))
    await ann.deliver(plain(1, "Dan <Dan@example.org>"), flags=("\\Flagged",))
    await ann.deliver(plain(2, answers=1), path="Archive/2026")
    [rich] = await ann.deliver(RICH)
    archive = await ann.folder("Archive/2026")
    inbox = ann.folders["INBOX"]
    [thread] = {item["thread"] for item in await items(api, "starred=true")}

    for query, wanted in {
        "read=true": ["0"],
        "read=false": ["rich", "2", "1"],
        "starred=true": ["1"],
        "starred=false": ["rich", "2", "0"],
        "has_attachment=true": ["rich"],
        "has_attachment=false": ["2", "1", "0"],
        "from=Dan@example.org": ["1"],
        "from=Dan@EXAMPLE.org": ["1"],
        "from=nobody@example.org": [],
        f"folder={archive.public_id}": ["2"],
        "folder=Archive/2026": ["2"],
        "folder=inbox": ["rich", "1", "0"],
        f"folder={inbox.public_id}&read=false": ["rich", "1"],
        f"thread={thread}": ["2", "1"],
        f"account={await ann.id()}": ["rich", "2", "1", "0"],
        "after=2026-01-01T00:03:00Z": ["rich", "2"],
        "before=2026-01-01T00:03:00Z": ["1", "0"],
        "after=2026-01-01T01:03:00%2B01:00&before=2026-01-01T00:04:00": ["2"],
        "before=2026-01-01": [],
    }.items():
        assert await subjects(api, query) == wanted, query
        answer = (await api.get(f"/v1/mail/messages?{query}")).json()
        assert answer["total"] == len(wanted), query
    assert rich.came is Came.ADDED
    del db


async def test_a_large_folder_is_listed_as_a_small_one(
    api: Client, ann: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ann.deliver(*(plain(number) for number in range(3)))
    await ann.deliver(plain(1), plain(4), path="Other")
    few = await subjects(api, "folder=Other")
    monkeypatch.setattr("postroom.mail.store.read.FEW", 1)

    assert await subjects(api, "folder=Other") == few == ["4", "1"]
    assert await subjects(api, "folder=inbox") == ["2", "1", "0"]


@pytest.mark.parametrize("nearby", [0, 1, 3, 5])
async def test_a_folder_lists_the_same_however_far_away_its_mail_is(
    api: Client, ann: Copy, monkeypatch: pytest.MonkeyPatch, nearby: int
) -> None:
    for number in range(6):
        flags = ("\\Seen",) if number % 3 else ()
        await ann.deliver(plain(number), path="Other" if number % 2 else "INBOX", flags=flags)

    monkeypatch.setattr("postroom.mail.store.read.NEARBY", nearby)

    assert await subjects(api, "folder=Other") == ["5", "3", "1"]
    assert await subjects(api, "folder=Other&read=false") == ["3"]
    assert await subjects(api, "folder=Other&page_size=1&page=2") == ["3"]
    first = (await api.get("/v1/mail/messages?folder=Other&page_size=1")).json()
    assert (first["total"], first["has_next"]) == (3, True)
    assert await subjects(api, f"folder=Other&page_size=1&cursor={first['next']}") == ["3"]


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("cursor=x", 400, "http.bad_cursor"),
        ("cursor=", 400, "http.bad_cursor"),
        ("page=2&cursor=x", 400, "http.bad_page"),
        ("page=2000&page_size=100", 400, "http.bad_page"),
        ("page=0", 422, "http.invalid_request"),
        ("page_size=101", 422, "http.invalid_request"),
        ("page_size=99999999999999999999", 422, "http.invalid_request"),
        ("sort_by=subject", 422, "http.invalid_request"),
        ("account=x", 422, "http.invalid_request"),
        ("folder=%00", 422, "http.invalid_request"),
        ("from=%00", 422, "http.invalid_request"),
        ("after=0001-01-01T00:00:00%2B14:00", 422, "http.invalid_request"),
        ("before=9999-12-31T23:59:59-14:00", 422, "http.invalid_request"),
        ("after=2024", 422, "http.invalid_request"),
        ("fields=id,colour", 400, "http.unknown_field"),
        ("fields=sender", 400, "http.unknown_field"),
        ("fields=id,", 400, "http.unknown_field"),
        ("fields=", 422, "http.invalid_request"),
        ("folder=nowhere", 404, "mail.folder_not_found"),
        ("account=5f3f1c7e-9d57-4a3a-8a53-6d1f0a7c2b11", 404, "mail.account_not_found"),
        ("thread=5f3f1c7e-9d57-4a3a-8a53-6d1f0a7c2b11", 404, "mail.thread_not_found"),
    ],
)
async def test_what_cannot_be_asked_is_refused(api: Client, query: str, status: int, code: str) -> None:
    answer = await api.get(f"/v1/mail/messages?{query}")

    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize(
    "query", ["after=0001-01-01", "before=9999-12-31", "from=%F0%9F%98%80", "folder=%FF%FE"]
)
async def test_odd_questions_get_an_answer(api: Client, query: str) -> None:
    assert (await api.get(f"/v1/mail/messages?{query}")).status_code in {200, 404}


async def test_a_label_is_a_keyword_or_the_name_of_a_folder(
    api: Client, ann: Copy, bob: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bob.deliver(plain(9), flags=("Work",), path="Work")
    await ann.deliver(plain(0), flags=("Work",))
    await ann.deliver(plain(1), flags=("$work", "WORK"))
    await ann.deliver(plain(2), path="Projects/Work")
    await ann.deliver(plain(3), path="Homework", flags=("Workshop",))
    await ann.deliver(plain(2), path="INBOX", flags=("$Work",))  # again, and there without the keyword
    await ann.deliver(plain(4), path="Work")

    for nearby in (2_000, 0, 2):
        monkeypatch.setattr("postroom.mail.store.read.NEARBY", nearby)
        for query, wanted in {
            "label=Work": "4210",
            "label=work": "10",  # names of folders are as they are written
            "label=Projects/Work": "2",
            "label=Work&order=asc": "0124",
            "label=Work&sort_by=sender": "0124",
            "label=Work&folder=inbox": "210",
            "label=Work&read=true": "",
            "label=%25": "",
            "label=nowhere": "",
        }.items():
            assert "".join(await subjects(api, query)) == wanted, (query, nearby)
            assert (await api.get(f"/v1/mail/messages?{query}")).json()["total"] == len(wanted), query
        first = (await api.get("/v1/mail/messages?label=Work&page_size=3")).json()
        assert first["has_next"]
        assert await subjects(api, f"label=Work&page_size=3&cursor={first['next']}") == ["0"]


async def test_of_a_list_only_the_fields_asked_for_are_told(api: Client, ann: Copy) -> None:
    await ann.deliver(plain(0), plain(1))
    whole = (await api.get("/v1/mail/messages?page_size=1")).json()
    answer = await api.get("/v1/mail/messages?page_size=1&fields=subject,%20from,received_at")
    sparse = answer.json()

    wanted = {name: whole["items"][0][name] for name in ("subject", "from", "received_at")}
    assert sparse["items"] == [wanted]
    assert sparse.keys() == whole.keys()
    assert [sparse[name] == whole[name] for name in whole if name not in ("items", "next")] == [True] * 6
    assert answer.headers["Content-Type"] == "application/json"
    assert await subjects(api, f"page_size=1&fields=subject&cursor={sparse['next']}") == ["0"]


async def test_an_unknown_field_is_told_which_there_are(api: Client, ann: Copy) -> None:
    [mail] = await ann.deliver(plain(0))
    of_list = (await api.get("/v1/mail/messages?fields=colour")).json()
    of_one = (await api.get(f"/v1/mail/messages/{mail.public_id}?fields=colour")).json()
    row = (await api.get("/v1/mail/messages")).json()["items"][0]

    assert "'colour'" in of_list["detail"]
    assert of_list["data"]["fields"] == list(row)
    assert set(of_one["data"]["fields"]) > set(row)


async def test_of_a_message_only_the_fields_asked_for_are_told(api: Client, ann: Copy) -> None:
    [mail] = await ann.deliver(RICH)
    path = f"/v1/mail/messages/{mail.public_id}"
    whole = (await api.get(path)).json()
    for name in whole:
        assert (await api.get(f"{path}?fields={name}")).json() == {name: whole[name]}


async def test_for_fields_that_are_stored_no_message_is_read_again(
    api: Client, ann: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    [mail] = await ann.deliver(RICH)
    path = f"/v1/mail/messages/{mail.public_id}"
    done: list[str] = []
    for name, work in (("parse.parse", parse), ("sanitise", sanitise)):

        def noted(*given: Any, name: str = name, work: Callable[..., Any] = work) -> Any:
            done.append(name)
            return work(*given)

        monkeypatch.setattr(f"postroom.mail.content.{name}", noted)
    cost = {}
    for fields in ("id,text,attachments,cc,conversation", "headers", "html"):
        await api.get(f"{path}?fields={fields}")
        cost[fields], done = list(done), []

    assert list(cost.values()) == [[], ["parse.parse"], ["parse.parse", "sanitise"]]


async def test_who_has_a_message_hears_of_it_when_it_changes(api: Client, ann: Copy) -> None:
    [mail] = await ann.deliver(plain(0))
    for path in (f"/v1/mail/messages/{mail.public_id}", "/v1/mail/messages?page_size=1", "/v1/mail/folders"):
        tag = (await api.get(path)).headers["ETag"]
        assert (await api.get(path, headers={"If-None-Match": tag})).status_code == 304, path
    path = "/v1/mail/messages?page_size=1"
    tag = (await api.get(path)).headers["ETag"]
    await ann.deliver(plain(1))
    tag, before = (await api.get(path, headers={"If-None-Match": tag})).headers["ETag"], tag

    assert tag != before
    assert (await api.get(path)).json()["next"] != (await api.get(path)).json()["next"]
    assert (await api.get(path, headers={"If-None-Match": tag})).status_code == 304


async def test_a_cursor_is_good_for_its_list_only(api: Client, ann: Copy) -> None:
    await ann.deliver(plain(0), plain(1))
    cursor = (await api.get("/v1/mail/messages?page_size=1")).json()["next"]
    changed = cursor[:-3] + ("A" if cursor[-3] != "A" else "B") + cursor[-2:]

    assert (await api.get(f"/v1/mail/messages?cursor={cursor}")).status_code == 200
    for path in (
        f"messages?cursor={changed}",
        f"messages?order=asc&cursor={cursor}",
        f"messages?sort_by=sender&cursor={cursor}",
        f"threads?cursor={cursor}",
    ):
        answer = await api.get(f"/v1/mail/{path}")
        assert (answer.status_code, answer.json()["code"]) == (400, "http.bad_cursor"), path


async def test_the_detail_shows_a_mail_without_its_claws(api: Client, ann: Copy) -> None:
    [mail] = await ann.deliver(RICH)
    found = (await api.get(f"/v1/mail/messages/{mail.public_id}")).json()

    assert found["from"]["address"] == "cid@example.org"
    assert found["text"].startswith("hi")
    assert "script" not in found["html"]
    assert "onclick" not in found["html"]
    assert "spy.example" not in found["html"]
    assert found["blocked_images"] == 1
    assert [(a["number"], a["name"], a["content_type"]) for a in found["attachments"]] == [
        (1, "evil.html", "text/html"),
        (2, "grüß.png", "image/png"),
    ]
    assert found["attachment_count"] == 2
    assert {"name": "List-Id", "value": "<list.example.org>"} in found["headers"]
    assert "hidden" not in json.dumps(found["headers"])
    assert [message["id"] for message in found["conversation"]] == [found["id"]]


async def test_the_detail_has_the_conversation_the_oldest_first(api: Client, ann: Copy) -> None:
    _, answer = await ann.deliver(plain(1), plain(2, answers=1))
    await ann.deliver(plain(3))
    found = (await api.get(f"/v1/mail/messages/{answer.public_id}")).json()

    assert [message["subject"] for message in found["conversation"]] == ["number 1", "number 2"]
    assert found["in_reply_to"] == ["mail-1@example.org"]


async def test_the_html_page_can_do_nothing(api: Client, ann: Copy) -> None:
    rich, dull = await ann.deliver(RICH, plain(1))
    page = await api.get(f"/v1/mail/messages/{rich.public_id}/html")
    none = await api.get(f"/v1/mail/messages/{dull.public_id}/html")

    assert "sandbox" in page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "script" not in page.text
    assert (none.status_code, none.json()["code"]) == (404, "mail.no_html")


async def test_raw_is_what_the_server_has_byte_for_byte(api: Client, ann: Copy) -> None:
    content = b"Subject: odd\r\n\r\n\xff\x00\n\rbare"
    [mail] = await ann.deliver(content)
    answer = await api.get(f"/v1/mail/messages/{mail.public_id}/raw")
    again = await api.get(
        f"/v1/mail/messages/{mail.public_id}/raw", headers={"If-None-Match": answer.headers["ETag"]}
    )

    assert answer.content == content
    assert answer.headers["Content-Type"] == "message/rfc822"
    assert answer.headers["Content-Length"] == str(len(content))
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert (again.status_code, again.content) == (304, b"")


async def test_a_mail_of_many_pieces_arrives_whole(
    api: Client, ann: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "IN_MEMORY", CHUNK // 2)  # so that it is read from a file
    inside = bytes(range(256)) * (CHUNK * 2 // 256)
    raw = (
        b"Subject: large\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=B\r\n\r\n"
        b"--B\r\n\r\nwords\r\n--B\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\n" + encodebytes(inside) + b"--B--\r\n"
    )
    [mail] = await ann.deliver(raw)
    path = f"/v1/mail/messages/{mail.public_id}"

    assert len(raw) > 2 * CHUNK
    assert (await api.get(f"{path}/raw")).content == raw
    assert (await api.get(f"{path}/attachments/1")).content == inside
    assert (await api.get(path)).json()["text"].strip() == "words"


async def test_an_attachment_is_kept_and_never_run(api: Client, ann: Copy) -> None:
    [mail] = await ann.deliver(RICH)
    path = f"/v1/mail/messages/{mail.public_id}/attachments"
    evil, image = await api.get(f"{path}/1"), await api.get(f"{path}/2")
    again = await api.get(f"{path}/2", headers={"If-None-Match": image.headers["ETag"]})

    assert evil.content == b"<script>alert(2)</script>"
    assert image.content == b"\x89PNG" * 100
    assert evil.headers["Content-Type"] == "application/octet-stream"
    assert image.headers["Content-Type"] == "image/png"
    assert image.headers["Content-Disposition"].endswith("filename*=UTF-8''gr%C3%BC%C3%9F.png")
    for answer in (evil, image):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
        assert answer.headers["Content-Disposition"].startswith("attachment;")
    assert again.status_code == 304
    for number in ("3", "0", "-1", "99999999999999999999", "x"):
        assert (await api.get(f"{path}/{number}")).status_code in {404, 422}


async def test_content_that_is_gone_is_a_problem_and_not_half_an_answer(
    api: Client, ann: Copy, db: Database
) -> None:
    [mail] = await ann.deliver(RICH)
    async with db.transaction(ONE) as conn:
        await conn.execute("DELETE FROM blobs_blob")

    for path in ("", "/raw", "/html", "/attachments/1"):
        answer = await api.get(f"/v1/mail/messages/{mail.public_id}{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "blobs.not_found")


async def test_folders_are_counted_when_asked(api: Client, ann: Copy) -> None:
    await ann.deliver(plain(1), plain(2))
    await ann.folder("Sent", FolderRole.SENT)
    plainly, counted = await items(api, of="folders"), await items(api, "counted=true", of="folders")

    assert [(folder["path"], folder["role"]) for folder in plainly] == [("INBOX", "inbox"), ("Sent", "sent")]
    assert [folder["messages"] for folder in plainly] == [None, None]
    assert [folder["messages"] for folder in counted] == [2, 0]
    assert await items(api, f"account={await ann.id()}", of="folders") == plainly


async def test_threads_come_with_the_newest_mail_first(api: Client, ann: Copy) -> None:
    await ann.deliver(plain(1, "Eve <eve@x.org>"), plain(2))
    await ann.deliver(plain(3, answers=1), flags=("\\Seen", "\\Flagged"))
    first, second = await items(api, of="threads")

    assert [first["subject"], second["subject"]] == ["number 1", "number 2"]
    assert (first["messages"], first["unread"], first["starred"]) == (2, 1, True)
    assert {sender["name"] for sender in first["senders"]} == {"Eve", "Cid"}
    page = (await api.get("/v1/mail/threads?page_size=1")).json()
    rest = (await api.get(f"/v1/mail/threads?page_size=1&cursor={page['next']}")).json()
    assert [*page["items"], *rest["items"]] == [first, second]
    assert (page["has_next"], rest["has_next"]) == (True, False)
    assert (await api.get("/v1/mail/threads?page=2")).status_code == 400


async def test_a_thread_that_became_part_of_another_answers_as_that_one(api: Client, ann: Copy) -> None:
    await ann.deliver(plain(1), plain(2))
    before = [item["id"] for item in await items(api, of="threads")]
    joins = plain(3, answers=1).replace(b"In-Reply-To", b"References: <mail-2@example.org>\r\nIn-Reply-To")
    await ann.deliver(joins)
    answers = [(await api.get(f"/v1/mail/threads/{id}")).json() for id in before]

    assert len(set(before)) == 2
    assert answers[0] == answers[1]
    assert [message["subject"] for message in answers[0]["messages"]] == ["number 1", "number 2", "number 3"]
    assert await subjects(api, f"thread={before[0]}") == await subjects(api, f"thread={before[1]}")
    assert len(await items(api, of="threads")) == 1


async def test_what_belongs_to_another_tenant_is_as_if_it_were_not(
    api: Client, ann: Copy, bob: Copy, db: Database, connect: Callable[[str | None], Client]
) -> None:
    [theirs] = await bob.deliver(RICH)
    await ann.deliver(plain(1))
    bobs = connect(await key_of(db, TWO))
    [row] = await items(bobs)
    cursor = None
    await bob.deliver(plain(2))
    cursor = (await bobs.get("/v1/mail/messages?page_size=1")).json()["next"]
    folder, account, unknown = row["folders"][0]["id"], row["account"], str(uuid4())

    assert await subjects(api) == ["1"]
    assert len(await items(api, of="folders")) == len(await items(api, of="threads")) == 1
    for path, foreign in {
        "messages/{}": theirs.public_id,
        "messages/{}/raw": theirs.public_id,
        "messages/{}/html": theirs.public_id,
        "messages/{}/attachments/1": theirs.public_id,
        "threads/{}": row["thread"],
        "messages?account={}": account,
        "messages?folder={}": folder,
        "messages?thread={}": row["thread"],
        "threads?account={}": account,
        "folders?account={}": account,
    }.items():
        url = f"/v1/mail/{path}"
        there = await bobs.get(url.format(foreign))
        here, nowhere = await api.get(url.format(foreign)), await api.get(url.format(unknown))
        assert there.status_code == 200, path
        assert here.status_code == nowhere.status_code == 404, path
        assert here.content == nowhere.content, path
        ignored = {"x-request-id", "ratelimit"}
        assert {k: v for k, v in here.headers.items() if k not in ignored} == {
            k: v for k, v in nowhere.headers.items() if k not in ignored
        }
    assert (await api.get(f"/v1/mail/messages?cursor={cursor}")).status_code == 400
