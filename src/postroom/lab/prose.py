"""Sentences, paragraphs and blocks of HTML, made once per language and charset and kept encoded.

A mail of 20 KB is mostly a handful of these pieces put together: that is what makes thousands a second
possible. Every piece ends with a line end and can stand beside any other of the same `Ink`, even in base64,
because it is padded to whole base64 lines.
"""

from binascii import b2a_base64, b2a_qp
from functools import cache, lru_cache
from html import escape
from random import Random
from typing import NamedTuple

from postroom.lab.words import BY_SHARE, Language

LANGUAGES: dict[str, Language] = {language.code: language for language in BY_SHARE}
PARAGRAPHS = 150
BLOCKS = 60
LINE = 57  # bytes that make one line of base64


class Ink(NamedTuple):
    """How text is written: language, charset, content transfer encoding."""

    code: str
    charset: str
    transfer: str


def piece(text: str, ink: Ink) -> bytes:
    """Text with LF line ends, as it stands in a mail. What the charset cannot say becomes `?`."""
    raw = text.replace("\n", "\r\n").encode(ink.charset, "replace")
    if ink.transfer == "quoted-printable":
        return b2a_qp(raw, istext=True)
    if ink.transfer != "base64":
        return raw
    raw = raw.removesuffix(b"\r\n")
    raw = raw + b" " * (-(len(raw) + 2) % LINE) + b"\r\n"
    return b"".join(
        [b2a_base64(raw[at : at + LINE]).replace(b"\n", b"\r\n") for at in range(0, len(raw), LINE)]
    )


@cache
def sentences(code: str) -> tuple[str, ...]:
    """Three hundred sentences of one language."""
    language, rng = LANGUAGES[code], Random(f"sentences {code}")
    return tuple(_sentence(language, rng) for _ in range(300))


def _sentence(language: Language, rng: Random) -> str:
    words = [rng.choice(language.words) for _ in range(rng.randint(5, 16))]
    if rng.random() < 0.2:
        words.insert(rng.randrange(len(words)), f"{rng.randint(1, 9999)}")
    text = language.space.join(words)
    return f"{text[0].upper()}{text[1:]}{language.stop}"


@cache
def paragraphs(code: str) -> tuple[str, ...]:
    """Two to seven sentences each, without line ends."""
    rng, pool, space = Random(f"paragraphs {code}"), sentences(code), LANGUAGES[code].space
    return tuple(space.join(rng.choices(pool, k=rng.randint(2, 7))) for _ in range(PARAGRAPHS))


def wrapped(text: str, language: Language, width: int = 72) -> list[str]:
    """Lines of at most about `width` columns."""
    if not language.space:
        return [text[at : at + width // 2] for at in range(0, len(text), width // 2)]
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + len(word) >= width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, line]


@lru_cache(maxsize=20_000)
def text_paragraph(ink: Ink, number: int, depth: int) -> bytes:
    """One paragraph as plain text, quoted `depth` times, and an empty line."""
    mark = ">" * depth + " " if depth else ""
    return piece("".join(f"{mark}{line}\n" for line in [*_lines(ink.code, number), ""]), ink)


@cache
def _lines(code: str, number: int) -> list[str]:
    return wrapped(paragraphs(code)[number], LANGUAGES[code])


@lru_cache(maxsize=20_000)
def html_paragraph(ink: Ink, number: int) -> bytes:
    """The same paragraph as HTML, in the words of a mail program that likes to style everything."""
    lines = "<br>\n".join(
        escape(line) for line in wrapped(paragraphs(ink.code)[number], LANGUAGES[ink.code], 300)
    )
    style = "margin:0cm;margin-bottom:.0001pt;font-size:11.0pt;font-family:&quot;Calibri&quot;,sans-serif"
    span = '<span style="color:#1F497D;mso-fareast-language:EN-US">'
    return piece(f'<p class="MsoNormal" style="{style}">{span}{lines}</span></p>\n', ink)


@cache
def html_block(ink: Ink, number: int) -> bytes:
    """One story of a newsletter: nested tables, inline styles, a picture, a heading, text, a button."""
    rng = Random(f"block {ink.code} {number}")
    heading = escape(rng.choice(sentences(ink.code))[:60])
    text = "<br>\n".join(escape(rng.choice(sentences(ink.code))) for _ in range(rng.randint(3, 9)))
    cell = "font-family:Helvetica,Arial,sans-serif;font-size:15px;line-height:22px;color:#3b3f44"
    link = f"https://click.example/t/{rng.getrandbits(256):064x}/{rng.getrandbits(512):0128x}"
    picture = f"https://img.example/{rng.getrandbits(160):040x}/story-{number}.jpg?w=600&amp;h=240"
    return piece(
        '<table role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0" '
        'style="border-collapse:collapse;mso-table-lspace:0pt;mso-table-rspace:0pt">\n'
        '<tr><td align="left" valign="top" style="padding:0 24px 16px 24px">\n'
        f'<a href="{link}/1" target="_blank" style="text-decoration:none">\n'
        f'<img src="{picture}" width="600" height="240" alt="{heading}" '
        'style="display:block;border:0;width:100%">\n'
        "</a></td></tr>\n"
        f'<tr><td style="{cell};font-weight:bold;padding:8px 24px">{heading}</td></tr>\n'
        f'<tr><td style="{cell};padding:0 24px 18px 24px">\n{text}\n</td></tr>\n'
        f'<tr><td style="padding:0 24px 32px 24px"><a href="{link}/2" style="{cell};background:#0b6e4f;'
        'color:#ffffff;border-radius:4px;display:inline-block;padding:10px 22px;text-decoration:none">\n'
        f"{escape(rng.choice(sentences(ink.code))[:24])}</a></td></tr>\n</table>\n",
        ink,
    )


@cache
def html_head(ink: Ink) -> bytes:
    """The beginning of a newsletter, with the style sheet that they all carry."""
    rules = "\n".join(
        f"@media only screen and (max-width:{width}px) {{ .c{width} {{ width:{width - 40}px !important; "
        f"padding:{width // 40}px !important; font-size:{12 + width // 100}px !important; }} }}"
        for width in range(320, 960, 32)
    )
    return piece(
        f'<!DOCTYPE html>\n<html lang="{ink.code}">\n<head>\n'
        f'<meta http-equiv="Content-Type" content="text/html; charset={ink.charset}">\n'
        f'<meta name="viewport" content="width=device-width">\n<style type="text/css">\n{rules}\n</style>\n'
        '</head>\n<body style="margin:0;padding:0;background:#f4f4f4">\n',
        ink,
    )
