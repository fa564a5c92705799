"""Turn text parts into what a person reads: which parts count, in which charset, how they join."""

import re
from dataclasses import dataclass, field
from html import escape

from postroom.mime import transfer, uuencode
from postroom.mime.charsets import decode, holds_ascii
from postroom.mime.flowed import unflow
from postroom.mime.html import to_text
from postroom.mime.limits import HTML_CHARS, PREVIEW_CHARS, TEXT_BYTES, TEXT_CHARS
from postroom.mime.source import Source
from postroom.mime.structure import Declared, Part
from postroom.mime.uuencode import Embedded

META_CHARSET = re.compile(
    rb"<meta[^>]{1,200}?charset\s{0,3}=\s{0,3}[\"']?([a-z0-9_:.-]{2,40})", re.IGNORECASE
)
PREVIEW_FROM = (600, 6_000)  # characters of the text that a preview is made from; more if they do not suffice
ATTRIBUTION = re.compile(r"(?:On .{1,200} wrote|Am .{1,200} schrieb.{0,100}|Le .{1,200} a écrit ?):\Z")
SIGNATURE = re.compile(r"^-- ?$", re.MULTILINE)
# Newsletters fill what an inbox shows with characters that nobody sees.
INVISIBLE = re.compile("[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\ufffc]+")


@dataclass(slots=True)
class Body:
    """Collects texts in order. A multipart/alternative says one thing twice: one of each is taken."""

    source: Source
    defects: set[str]
    _groups: dict[int, tuple[list[str], list[str]]] = field(default_factory=dict)
    _left: int = TEXT_BYTES
    _single: int = 0
    _has_html: bool = False
    embedded: list[Embedded] = field(default_factory=list)  # uuencoded files that texts held

    def add(self, part: Part, declared: Declared) -> None:
        """Take in a text part."""
        is_html = part.content_type == "text/html"
        self.add_text(self.read(part, declared, is_html), is_html, part.alternative)

    def is_empty(self) -> bool:
        """Whether nothing that a person could read came so far."""
        return all(not text.strip() for texts in self._groups.values() for pieces in texts for text in pieces)

    def add_text(self, text: str, is_html: bool, alternative: int = 0) -> None:
        """Take in a text; `alternative` is the number of the multipart/alternative around it."""
        key = alternative
        if not key:
            self._single -= 1
            key = self._single
        plain, html = self._groups.setdefault(key, ([], []))
        if is_html:
            self._has_html = True
            html.append(text)
        else:
            plain.append(text)

    def read(self, part: Part, declared: Declared, is_html: bool = False) -> str:
        """A part's text in Unicode without NUL; lines of plain text end in LF."""
        raw = self._decoded(part, is_html)
        charset = declared.charset
        if is_html and charset is None and not raw.isascii():
            meta = META_CHARSET.search(raw[:2000])
            charset = meta[1].decode("ascii") if meta else None
        over_ascii = holds_ascii(charset)
        if over_ascii and not is_html and b"\r" in raw:
            raw = b"\n".join((raw + b"|").splitlines())[:-1]  # `replace` takes twice as long
        text = decode(raw, charset, self.defects)
        if "\r" in text and not is_html:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        if (b"\0" in raw or not over_ascii) and "\0" in text:  # in bytes it is found much faster
            self.defects.add("text.nul")
            text = text.replace("\0", "\ufffd")
        if declared.flowed and not is_html:
            text = unflow(text, declared.delete_space)
        return text

    def _decoded(self, part: Part, is_html: bool) -> bytes:
        """Its bytes, as far as they are read, without transfer encoding and files inside the text."""
        end = min(part.end, part.start + self._left)
        if end < part.end:
            self.defects.add("html.truncated" if is_html else "text.truncated")
        raw = self.source[part.start : end]
        self._left -= len(raw)
        encoding = transfer.name(part.fields.get("content-transfer-encoding", ""), self.defects)
        if encoding == "base64":
            raw, damaged = transfer.base64_text(raw)
            if damaged:
                self.defects.add("text.damaged")
        elif encoding:
            raw = transfer.decode(raw, encoding)
        elif b"begin " in raw and not is_html:
            files = uuencode.find(raw)
            self.embedded += [
                Embedded(file.name, part.start + file.start, part.start + file.end) for file in files
            ]
            raw = uuencode.without(raw, files)
        return raw

    def text(self) -> str:
        """Everything as plain text."""
        texts = [
            "\n".join(plain)
            if any(not piece.isspace() for piece in plain if piece)
            else "\n".join(map(to_text, html))
            for plain, html in self._groups.values()
        ]
        text = texts[0] if len(texts) == 1 else "\n".join(text for text in texts if text)
        if len(text) > TEXT_CHARS:
            self.defects.add("text.truncated")
            return text[:TEXT_CHARS]
        return text

    def html(self) -> str | None:
        """Everything as HTML; None when no part is HTML."""
        if not self._has_html:
            return None
        pieces = [
            "\n".join(html) if html else "\n".join(map(_as_html, plain))
            for plain, html in self._groups.values()
        ]
        html = "\n".join(piece for piece in pieces if piece)
        if len(html) > HTML_CHARS:
            self.defects.add("html.truncated")
            return html[:HTML_CHARS]
        return html


def _as_html(plain: str) -> str:
    return (
        f'<div style="white-space: pre-wrap">{escape(plain)}</div>' if plain and not plain.isspace() else ""
    )


def preview(text: str) -> str:
    """The first words on one line, without quotes and signature unless there is nothing else."""
    for length in PREVIEW_FROM:
        start = text[:length]
        own = SIGNATURE.split(start, 1)[0] if "\n--" in start else start
        own = _one_line(_without_quotes(own) if ">" in own or ":\n" in own else own)
        if len(own) > PREVIEW_CHARS * 3 // 4 or length >= len(text):
            break
    return own or _one_line(start)


def _without_quotes(text: str) -> str:
    return "\n".join(
        [
            line
            for line in text.split("\n")
            if line[:1] != ">" and not (line[-1:] == ":" and ATTRIBUTION.match(line))
        ]
    )


def _one_line(text: str) -> str:
    """The beginning of `text`, of which a little more than that is mostly enough."""
    for piece in (text[: PREVIEW_CHARS + 100], text):
        shown = " ".join(piece.split())
        # Python calls nearly all of the invisible ones unprintable, and tells faster than a pattern.
        if not shown.isascii() and (not shown.isprintable() or "\u034f" in shown or "\ufffc" in shown):
            shown = " ".join(INVISIBLE.sub("", piece).split())
        if len(shown) >= PREVIEW_CHARS:
            break
    return shown[:PREVIEW_CHARS].rstrip()
