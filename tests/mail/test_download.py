import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postroom.mail import download
from postroom.mime.model import Attachment


@given(st.text(max_size=50))
@settings(max_examples=100)
def test_any_name_gives_one_header_line(name: str) -> None:
    header = download.disposition(name.encode("utf-8", "replace").decode(), "part")

    assert header.startswith('attachment; filename="')
    assert header.isascii()
    assert header.isprintable()
    assert header.count('"') == 2
    assert header.count(";") == 2


def test_a_name_is_told_as_it_is_and_in_plain_letters() -> None:
    header = download.disposition('größe "1"; x=\r\n.pdf', "part")

    plain, exact = "gr__e _1__ x=__.pdf", "gr%C3%B6%C3%9Fe%20%221%22%3B%20x%3D%0D%0A.pdf"
    assert header == f"attachment; filename=\"{plain}\"; filename*=UTF-8''{exact}"


@pytest.mark.parametrize(
    "declared",
    [
        "text/html",
        "application/xhtml+xml",
        "image/svg+xml",
        "text/xml",
        "application/xml",
        "text/javascript",
        "application/x-shockwave-flash",
        "application/vnd.wap.xhtml+xml",
        "audio/x+xml",
        "video/svg+xml",
        "multipart/x-mixed-replace",
        "image/png; charset=x",
        "image/png\r\nX: y",
        "TEXT/HTML",
        "",
    ],
)
def test_what_a_browser_could_run_becomes_octets(declared: str) -> None:
    assert download.content_type(declared) == "application/octet-stream"


@pytest.mark.parametrize(
    "declared", ["image/png", "application/pdf", "text/plain", "application/vnd.ms-excel", "audio/x-m4a"]
)
def test_what_only_shows_keeps_its_type(declared: str) -> None:
    assert download.content_type(declared) == declared


def test_a_tag_names_the_bytes_of_a_mail_and_of_each_part() -> None:
    parts = [
        Attachment(1, None, "text/plain", 3, None, "attachment", start, 9, encoding)
        for start, encoding in ((5, "base64"), (4, "base64"), (5, "base64+tnef:1-4"))
    ]
    tags = {download.etag(b"\1\2"), *(download.etag_of(b"\1\2", part) for part in parts)}

    assert download.etag(b"\1\2") == '"0102"'
    assert len(tags) == 4
    assert all(tag.isascii() and tag.count('"') == 2 and not tag.startswith("W/") for tag in tags)
