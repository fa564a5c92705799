"""Parts are found however a multipart is nested, broken or cut off."""

import pytest

from postroom.mime.parse import parse

TOP = b"From: a@b\nDate: Mon, 20 Nov 2023 10:00:00 +0100\nMessage-ID: <1@x>\n"
MIXED = TOP + b'Content-Type: multipart/mixed; boundary="b"\n\n'


def test_parts_are_joined_in_order() -> None:
    message = parse(MIXED + b"preamble\n--b\n\none\n--b\n\ntwo\n--b--\nepilogue\n")

    assert message.text == "one\ntwo"
    assert message.defects == ()


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
def test_any_line_ending_will_do(newline: bytes) -> None:
    raw = MIXED + b"--b\nContent-Type: text/plain\n\none\n\nx\n--b\n\ntwo\n--b--\n"

    assert parse(raw.replace(b"\n", newline)).text == "one\n\nx\ntwo"


def test_of_alternatives_the_plain_text_is_the_text_and_the_html_the_html() -> None:
    message = parse(
        TOP
        + b"Content-Type: multipart/alternative; boundary=b\n\n--b\n\nplain\n"
        + b"--b\nContent-Type: text/html\n\n<p>html</p>\n--b--\n"
    )

    assert message.text == "plain"
    assert message.html == "<p>html</p>"
    assert message.attachments == ()


def test_an_empty_plain_alternative_gives_way_to_the_html() -> None:
    message = parse(
        TOP
        + b"Content-Type: multipart/alternative; boundary=b\n\n--b\n\n \n"
        + b"--b\nContent-Type: text/html\n\n<p>html</p>\n--b--\n"
    )

    assert message.text == "html"


def test_html_alone_gives_the_text_and_the_preview() -> None:
    message = parse(TOP + b"Content-Type: text/html\n\n<style>x</style><p>Hello<br>you</p>")

    assert message.text == "Hello\nyou"
    assert message.preview == "Hello you"


def test_a_footer_beside_html_is_in_both() -> None:
    message = parse(MIXED + b"--b\nContent-Type: text/html\n\n<p>hi</p>\n--b\n\nlist <footer>\n--b--\n")

    assert message.text == "hi\nlist <footer>"
    assert message.html == '<p>hi</p>\n<div style="white-space: pre-wrap">list &lt;footer&gt;</div>'


@pytest.mark.parametrize(
    ("body", "text", "defect"),
    [
        (b"--b\n\none\n--b\n\ntwo\n", "one\ntwo\n", "boundary.unclosed"),
        (b"no delimiter at all\n", "no delimiter at all\n", "boundary.missing"),
        (b"--b\nContent-Type: text/plain\none\n--b--\n", "one", "headers.no_blank_line"),
        (
            b"--b\nContent-Type: multipart/mixed; boundary=c\n\n--c\n\none\n--b\n\ntwo\n--b--",
            "one\ntwo",
            "boundary.unclosed",
        ),
        (
            b"--b\nContent-Type: multipart/mixed\n\n--c\n\none\n--c--\n--b\n\ntwo\n--b--",
            "one\ntwo",
            "boundary.guessed",
        ),
    ],
)
def test_a_broken_multipart_is_read_and_reported(body: bytes, text: str, defect: str) -> None:
    message = parse(MIXED + body)

    assert message.text == text
    assert message.defects == (defect,)


def test_the_same_boundary_inside_itself_closes_the_inner_one_first() -> None:
    inner = b"--b\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b--\n"

    assert parse(MIXED + inner + b"--b\n\ntwo\n--b--\n").text == "one\ntwo"


def test_a_line_that_only_begins_like_a_delimiter_is_text() -> None:
    assert parse(MIXED + b"--b\n\none\n--bb\n--b x\n-- \n--b--\n").text == "one\n--bb\n--b x\n-- "


def test_a_delimiter_inside_headers_ends_the_part() -> None:
    message = parse(MIXED + b"--b\nContent-Type: text/html\n--b\n\ntwo\n--b--\n")

    assert message.text.strip() == "two"


def test_a_stray_line_among_headers_is_skipped() -> None:
    message = parse(b"From: a@b\nthis is no header\nSubject: s\n\nbody")

    assert message.subject == "s"
    assert message.text == "body"
    assert "headers.garbage" in message.defects


def test_a_body_without_an_empty_line_before_it_is_found() -> None:
    message = parse(b"From: a@b\nSubject: s\nDear all,\nhow are you\n")

    assert message.text == "Dear all,\nhow are you\n"
    assert "headers.no_blank_line" in message.defects


def test_an_mbox_line_and_empty_lines_before_the_headers_are_skipped() -> None:
    assert parse(b"\r\n\nFrom x@y Mon Nov 20\nSubject: s\n\nbody").subject == "s"


def test_two_froms_and_two_message_ids_show_the_first_and_are_reported() -> None:
    message = parse(b"From: a@b\nFrom: c@d\nMessage-ID: <1>\nMessage-ID: <2>\n\n")

    assert message.sender is not None
    assert message.sender.address == "a@b"
    assert message.message_id == "1"
    assert {"from.ambiguous", "message_id.repeated"} <= set(message.defects)
    assert [value for name, value in message.headers if name == "From"] == ["a@b", "c@d"]


def test_names_such_as_proto_are_headers_like_others() -> None:
    message = parse(b"__proto__: x\nconstructor: y\n\n")

    assert message.headers == (("__proto__", "x"), ("constructor", "y"))


def test_raw_8_bit_headers_are_read() -> None:
    assert parse("Subject: Grüße\n\n".encode()).subject == "Grüße"
    assert parse("Subject: Grüße\n\n".encode("latin-1")).subject == "Grüße"


def test_flowed_text_is_joined() -> None:
    body = b"a \nb\n> c \n> d\n-- \nme\n"
    top = TOP + b"Content-Type: text/plain; format=flowed"

    assert parse(top + b"\n\n" + body).text == "a b\n> c d\n-- \nme\n"
    assert parse(top + b"; delsp=yes\n\n" + body).text == "ab\n> cd\n-- \nme\n"


def test_the_preview_leaves_out_quotes_and_signature() -> None:
    body = b"On Monday, Bob wrote:\n> old\n\nMy  answer\n-- \nAda\n"

    assert parse(TOP + b"\n" + body).preview == "My answer"
    assert parse(TOP + b"\n> only a quote\n").preview == "> only a quote"


def test_nul_bytes_are_shown_as_replacement_characters() -> None:
    message = parse(TOP + b"Subject: a\0b\n\nx\0y")

    assert (message.subject, message.text) == ("a b", "x\ufffdy")
    assert "text.nul" in message.defects


def test_damaged_base64_gives_what_can_be_saved() -> None:
    message = parse(TOP + b"Content-Transfer-Encoding: base64\n\nSGVs*bG8g\nd29ybGQ")

    assert message.text == "Hello world"
    assert "text.damaged" in message.defects


def test_list_headers_are_found() -> None:
    message = parse(TOP + b"List-Id: A list <a.list.org>\nList-Unsubscribe: <https://x/y>, <mailto:z>\n\n")

    assert message.list_id == "a.list.org"
    assert message.list_unsubscribe == "<https://x/y>, <mailto:z>"
