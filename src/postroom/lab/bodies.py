"""The bodies of generated mail, one function for each kind, put together from encoded pieces."""

from collections.abc import Callable
from datetime import timedelta
from html import escape
from random import Random

from postroom.lab.files import BY_SHARE, contents, disposition, picture, size_of_attachment
from postroom.lab.prose import (
    BLOCKS,
    LANGUAGES,
    PARAGRAPHS,
    Ink,
    html_block,
    html_head,
    html_paragraph,
    piece,
    text_paragraph,
)
from postroom.lab.threads import Facts, Kind, dice, facts_of, message_id, received_at

QUOTED_AT_MOST = 6


def body(seed: int, facts: Facts, ink: Ink, rng: Random) -> bytes:
    """Everything from Content-Type on."""
    return BODIES[facts.kind](seed, facts, ink, rng)


def own_words(seed: int, number: int) -> list[int]:
    """The paragraphs that a mail adds to its conversation; answers quote them."""
    throw = dice(seed, number, 30)
    return [(throw >> 6 * step) % PARAGRAPHS for step in range(1 + throw % 5)]


def part(media: str, raw: bytes, *more: str, ink: Ink | None = None) -> bytes:
    """One part: its header, an empty line, its encoded content."""
    transfer = ink.transfer if ink else "base64"
    charset = f"; charset={ink.charset}" if ink else ""
    lines = [f"Content-Type: {media}{charset}", f"Content-Transfer-Encoding: {transfer}", *more]
    return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n" + raw


def multipart(kind: str, rng: Random, *parts: bytes) -> bytes:
    """Parts between boundaries."""
    boundary = b"----=_Part_%016x" % rng.getrandbits(64)
    pieces = [b'Content-Type: multipart/%s; boundary="%s"\r\n\r\n' % (kind.encode(), boundary)]
    for each in parts:
        pieces += [b"--", boundary, b"\r\n", each, b"\r\n"]
    pieces += [b"--", boundary, b"--\r\n"]
    return b"".join(pieces)


def _text(seed: int, facts: Facts, ink: Ink) -> bytes:
    """A greeting, own words, regards, and what is quoted, deeper for older mails."""
    language = LANGUAGES[ink.code]
    pieces = [piece(f"{language.hello.format(who=facts.recipients[0].name)}\n\n", ink)]
    pieces += [text_paragraph(ink, number, 0) for number in own_words(seed, facts.number)]
    pieces.append(piece(f"{language.regards}\n{facts.sender.name}\n\n", ink))
    for depth, ancestor in enumerate(facts.ancestors[:QUOTED_AT_MOST], 1):
        who = facts_of(seed, ancestor).sender.name
        when = f"{received_at(seed, ancestor):%d.%m.%Y %H:%M}"
        mark = ">" * (depth - 1) + " " * (depth > 1)
        pieces.append(piece(f"{mark}{language.wrote.format(when=when, who=who)}\n", ink))
        pieces += [text_paragraph(ink, number, depth) for number in own_words(seed, ancestor)]
    return b"".join(pieces)


def _html(seed: int, facts: Facts, ink: Ink) -> bytes:
    """The same as HTML."""
    pieces = [html_head(ink)]
    pieces += [html_paragraph(ink, number) for number in own_words(seed, facts.number)]
    quoted = facts.ancestors[:QUOTED_AT_MOST]
    for ancestor in quoted:
        who = escape(facts_of(seed, ancestor).sender.name)
        pieces.append(piece(f'<div class="quote_attr">{who}:</div>\n<blockquote type="cite">\n', ink))
        pieces += [html_paragraph(ink, number) for number in own_words(seed, ancestor)]
    pieces.append(piece("</blockquote>\n" * len(quoted) + "</body></html>\n", ink))
    return b"".join(pieces)


def _words(seed: int, facts: Facts, ink: Ink, rng: Random) -> bytes:
    """Plain text, or plain text and HTML as most programs write."""
    text = part("text/plain", _text(seed, facts, ink), ink=ink)
    if rng.random() < 0.3:
        return text
    html = part("text/html", _html(seed, facts, ink), ink=ink)
    return multipart("alternative", rng, text, html)


def _newsletter(seed: int, facts: Facts, ink: Ink, rng: Random) -> bytes:
    if facts.list_name:
        return _words(seed, facts, ink, rng)
    language, first = LANGUAGES[ink.code], rng.randrange(BLOCKS)
    count = rng.randint(8, 23)
    blocks = [html_block(ink, (first + step) % BLOCKS) for step in range(count)]
    token = f"{rng.getrandbits(128):032x}"
    foot = f'<p><a href="https://click.example/u/{token}">{language.unsubscribe}</a></p>\n</body></html>\n'
    text = [text_paragraph(ink, rng.randrange(PARAGRAPHS), 0) for _ in range(count // 3)]
    text.append(piece(f"{language.unsubscribe}: https://click.example/u/{token}\n", ink))
    return multipart(
        "alternative",
        rng,
        part("text/plain", b"".join(text), ink=ink),
        part("text/html", html_head(ink) + b"".join(blocks) + piece(foot, ink), ink=ink),
    )


def _notice(seed: int, facts: Facts, ink: Ink, rng: Random) -> bytes:
    """An order, a delivery, a login: numbers that occur in no other mail."""
    language = LANGUAGES[ink.code]
    order = f"{rng.randint(100_000, 999_999)}-{rng.randint(1_000, 9_999)}"
    rows = "".join(
        f"<tr><td>{rng.getrandbits(32):08X}</td><td>{rng.randint(1, 9)} x</td>"
        f"<td>{rng.randint(99, 99_999) / 100:.2f}</td></tr>\n"
        for _ in range(rng.randint(1, 6))
    )
    start = piece(f"<p>{language.hello.format(who=facts.recipients[0].name)}</p>\n<h1>#{order}</h1>\n", ink)
    words = [html_paragraph(ink, number) for number in own_words(seed, facts.number)]
    blocks = [html_block(ink, rng.randrange(BLOCKS)) for _ in range(rng.randint(1, 8))]
    html = [html_head(ink), start, *words, piece(f"<table>\n{rows}</table>\n", ink), *blocks]
    html.append(piece("</body></html>\n", ink))
    if rng.random() < 0.4:
        return part("text/html", b"".join(html), ink=ink)
    text = part("text/plain", piece(f"#{order}\n\n", ink) + _text(seed, facts, ink), ink=ink)
    return multipart("alternative", rng, text, part("text/html", b"".join(html), ink=ink))


def _invitation(seed: int, facts: Facts, ink: Ink, rng: Random) -> bytes:
    start = received_at(seed, facts.number) + timedelta(hours=rng.randint(4, 400))
    people = "".join(f"ATTENDEE;RSVP=TRUE:mailto:{person.address}\n" for person in facts.recipients)
    event = (
        "BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//postroom//lab//EN\nMETHOD:REQUEST\nBEGIN:VEVENT\n"
        f"UID:{message_id(seed, facts.number)[1:-1]}\n"
        f"DTSTAMP:{received_at(seed, facts.number):%Y%m%dT%H%M%SZ}\n"
        f"DTSTART:{start:%Y%m%dT%H%M%SZ}\nDTEND:{start + timedelta(hours=1):%Y%m%dT%H%M%SZ}\n"
        f"SUMMARY:{facts.language.file}\nORGANIZER:mailto:{facts.sender.address}\n{people}"
        "END:VEVENT\nEND:VCALENDAR\n"
    )
    calendar = Ink(ink.code, "utf-8", "base64")
    return multipart(
        "alternative",
        rng,
        part("text/plain", _text(seed, facts, ink), ink=ink),
        part("text/html", _html(seed, facts, ink), ink=ink),
        part("text/calendar; method=REQUEST", piece(event, calendar), ink=calendar),
    )


def _pictures(seed: int, facts: Facts, ink: Ink, rng: Random) -> bytes:
    images, html = [], [_html(seed, facts, ink)]
    for number in range(rng.randint(1, 3)):
        content_id = f"image{number}.{rng.getrandbits(48):012x}@lab.example"
        html.append(piece(f'<img src="cid:{content_id}" alt="">\n', ink))
        more = (f"Content-ID: <{content_id}>", f'Content-Disposition: inline; filename="image00{number}.png"')
        images.append(part("image/png", picture(rng.randrange(12)), *more))
    text = part("text/plain", _text(seed, facts, ink), ink=ink)
    related = multipart("related", rng, part("text/html", b"".join(html), ink=ink), *images)
    return multipart("alternative", rng, text, related)


def _attached(seed: int, facts: Facts, ink: Ink, rng: Random) -> bytes:
    files = []
    for number in range(2 if rng.random() < 0.2 else 1):
        form = BY_SHARE[rng.randrange(len(BY_SHARE))]
        size = size_of_attachment(rng) // (8 if form.ending == "csv" else 1)
        mark = f" {seed} {facts.number} {number} ".encode()
        name = f"{facts.language.file} {rng.randint(1, 99)}.{form.ending}"
        shown = disposition(name, rng.getrandbits(8))
        files.append(part(form.media_type, contents(form, size, mark, rng), f"Content-Disposition: {shown}"))
    return multipart("mixed", rng, _words(seed, facts, ink, rng), *files)


BODIES: dict[Kind, Callable[[int, Facts, Ink, Random], bytes]] = {
    Kind.NEWSLETTER: _newsletter,
    Kind.NOTICE: _notice,
    Kind.PERSONAL: _words,
    Kind.REPLY: _words,
    Kind.INVITATION: _invitation,
    Kind.PICTURES: _pictures,
    Kind.ATTACHED: _attached,
}
