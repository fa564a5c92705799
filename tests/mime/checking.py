"""What holds for every mail that was read, whatever its bytes; and what no sanitised HTML may hold."""

import re
from dataclasses import fields
from datetime import UTC

from postroom.mime.limits import HTML_CHARS, NAME_CHARS, TEXT_CHARS
from postroom.mime.model import ParsedMessage

TAG = re.compile(r"""<[a-z][^\s/>]*(?:\s+[^\s=>]+(?:="[^"]*")?)*\s*>""", re.IGNORECASE)
DANGEROUS_TAG = re.compile(
    r"<(?:script|iframe|object|embed|form|input|button|svg|math|style|link|meta|base|video|audio|template|frame)",
    re.IGNORECASE,
)
DANGEROUS_NAME = re.compile(
    r"\s(?:on\w+|srcdoc|formaction|background|srcset|poster|id|name|class)\s*=", re.IGNORECASE
)
DANGEROUS_LINK = re.compile(r'\s(?:src|href)="(?!cid:|https?:|mailto:|tel:|data:image/)', re.IGNORECASE)
QUOTED = re.compile('"[^"]*"')
REMOTE = re.compile(r"""\ssrc="(?!cid:|data:image/)|url\(|@import|expression|var\(""", re.IGNORECASE)


def dangers(html: str) -> list[str]:
    """Tags in `html` that could run, load or clobber anything."""
    return [
        tag
        for tag in TAG.findall(html)
        if DANGEROUS_TAG.search(tag)
        or DANGEROUS_NAME.search(QUOTED.sub('""', tag))
        or DANGEROUS_LINK.search(tag)
        or REMOTE.search(tag)
    ]


def strings(value: object) -> list[str]:
    """Every string in a parsed mail."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, tuple):
        return [text for item in value for text in strings(item)]
    if (
        hasattr(value, "__slots__")
        and not callable(value)
        and value.__class__.__module__.startswith("postroom")
    ):
        return [text for field in value.__slots__ for text in strings(getattr(value, field))]
    return []


def check(message: ParsedMessage) -> None:
    for text in strings(message):
        assert "\0" not in text
        text.encode("utf-8")
    assert {field.name for field in fields(message)} >= {"text", "html"}
    assert len(message.text) <= TEXT_CHARS
    assert len(message.html or "") <= HTML_CHARS
    assert message.sent_at is None or message.sent_at.tzinfo is UTC
    assert [item.number for item in message.attachments] == list(range(1, len(message.attachments) + 1))
    for item in message.attachments:
        assert item.content_type.count("/") == 1
        assert item.content_type == item.content_type.lower()
        assert item.name is None or (len(item.name) <= NAME_CHARS + 4 and not set(item.name) & set("/\\\r\n"))
