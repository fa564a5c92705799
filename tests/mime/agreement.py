"""Compare what we read in the mails of others with the results that lie beside them.

Each `Result` is one field of one mail (or one vector of addresses and dates). What counts as agreement:

    addresses      the same, in the same order, without regard to case; no result: none
    names, texts   the same letters and digits: white space and punctuation are a matter of taste
    date           the same moment
    message id     the same text
    texts          their text part lies in our text, their HTML part in our HTML; where theirs holds letters
                   that could not be read (their results are not always in UTF-8), the others count
    attachments    one of ours has the very bytes; line ends apart, as their files were made with either
    file name      one of ours has it
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from postroom.mime import addresses, attachments, dates
from postroom.mime.model import Address, ParsedMessage
from postroom.mime.parse import parse

CORPORA = Path(__file__).parents[2].parent / "shared" / "corpora"
MAIL_PARSER = CORPORA / "mail-parser"
MIME4J = CORPORA / "mime4j"
Found = dict[str, Any]
DEPTH = 5  # of messages in messages


@dataclass(frozen=True, slots=True)
class Result:
    where: str  # the file, without what its variants are called
    field: str
    agrees: bool


def results() -> Iterator[Result]:
    """Of every expected result that there is."""
    yield from of_mail_parser()
    yield from of_mime4j()
    yield from of_addresses()
    yield from of_dates()


def of_mail_parser() -> Iterator[Result]:
    """Mails of mail-parser with what it found in them, as sent and with CRLF."""
    for path in sorted((MAIL_PARSER / "eml").rglob("*.json")):
        name = path.name.removesuffix(".json").removesuffix(".crlf")
        raw = path.with_name(f"{name}.eml").read_bytes()
        if path.name.endswith(".crlf.json"):
            raw = raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        message, found = parse(raw), json.loads(path.read_text())
        where = f"{path.parent.name}/{name}"
        for field, agrees in (
            *_headers(message, found),
            *_bodies(message, found),
            *_files(raw, message, found),
        ):
            yield Result(where, field, agrees)


def _headers(message: ParsedMessage, found: Found) -> Iterator[tuple[str, bool]]:
    theirs: dict[str, list[Any]] = {}
    for header in found["parts"][0]["headers"]:
        theirs.setdefault(str(header["name"]), []).append(header["value"])
    for name, ours in (
        ("from", message.senders),
        ("to", message.to),
        ("cc", message.cc),
        ("bcc", message.bcc),
        ("reply_to", message.reply_to),
    ):
        lists = [_addresses(value["Address"]) for value in theirs.get(name, []) if "Address" in value]
        wanted = [pair for pairs in (lists[:1] if name == "from" else lists) for pair in pairs]
        yield f"{name} addresses", lower(ours) == [address.lower() for _, address in wanted]
        yield f"{name} names", [words(one.name) for one in ours] == [words(name) for name, _ in wanted]
    subject = _text(theirs.get("subject"))
    yield "subject", words(message.subject) == words(subject)
    yield "message id", (message.message_id or "") == _text(theirs.get("message_id"))
    date = (theirs.get("date") or [{}])[0]
    yield "date", message.sent_at == (moment(date["DateTime"]) if "DateTime" in date else None)


def _bodies(message: ParsedMessage, found: Found) -> Iterator[tuple[str, bool]]:
    for kind, ours in (("text", message.text), ("html", message.html or "")):
        for index in found[f"{kind}_body"]:
            if text := found["parts"][index]["body"].get(kind.title()):
                yield kind, holds(ours, text)


def _files(raw: bytes, message: ParsedMessage, found: Found) -> Iterator[tuple[str, bool]]:
    ours = [plain(attachments.content(raw, item)) for item in message.attachments]
    names = [item.name for item in message.attachments]
    for part in (found["parts"][index] for index in found["attachments"]):
        body = part["body"]
        if data := body.get("Binary") or body.get("InlineBinary"):
            yield "attachment", plain(bytes(data)) in ours
        given = {
            (str(header["name"]), attribute["name"]): attribute["value"]
            for header in part["headers"]
            if str(header["name"]) in {"content_disposition", "content_type"}
            and "ContentType" in header["value"]
            for attribute in header["value"]["ContentType"]["attributes"] or []
        }
        name = given.get(("content_disposition", "filename")) or given.get(("content_type", "name"))
        if name:
            yield "file name", name in names


def of_mime4j() -> Iterator[Result]:
    """Its expected files are the decoded bodies of parts, also of parts in messages in messages."""
    for path in sorted(MIME4J.rglob("*.msg")):
        texts, files = _inside(path.read_bytes())
        for body in sorted(path.parent.glob(f"{path.stem}_decoded*")):
            wanted = body.read_bytes()
            if body.suffix == ".txt":
                text = wanted.decode("utf-8", "replace")
                agrees = any(holds(ours, text) for ours in texts) or plain(wanted) in files
                yield Result(body.stem, "text", agrees)
            elif body.suffix == ".bin":
                yield Result(body.stem, "attachment", plain(wanted) in files)


def _inside(raw: bytes, depth: int = 0) -> tuple[list[str], list[bytes]]:
    """The words of all texts, and all attachments."""
    message = parse(raw)
    texts, files = [message.text, message.html or ""], list[bytes]()
    for item in message.attachments:
        content = attachments.content(raw, item)
        files.append(plain(content))
        texts.append(content.decode("utf-8", "replace"))
        if item.content_type == "message/rfc822" and depth < DEPTH:
            more_texts, more_files = _inside(content, depth + 1)
            texts += more_texts
            files += more_files
    return texts, files


def of_addresses() -> Iterator[Result]:
    for number, case in enumerate(json.loads((MAIL_PARSER / "address.json").read_text())):
        wanted = [address.lower() for _, address in _addresses(case["expected"] or {})]
        found = addresses.parse(case["header"], "address.ambiguous", set())
        yield Result(f"address.json {number}", "addresses", lower(found) == wanted)


def of_dates() -> Iterator[Result]:
    for number, case in enumerate(json.loads((MAIL_PARSER / "date.json").read_text())):
        wanted = moment(case["expected"]) if case["expected"] else None
        yield Result(f"date.json {number}", "date", dates.parse(case["header"], set()) == wanted)


def _addresses(value: Found) -> list[tuple[str, str]]:
    groups = value.get("Group") or [{"addresses": value.get("List") or []}]
    return [(one["name"] or "", one["address"] or "") for group in groups for one in group["addresses"]]


def _text(values: list[Any] | None) -> str:
    return (values[0].get("Text") if values and isinstance(values[0], dict) else "") or ""


def lower(found: tuple[Address, ...]) -> list[str]:
    return [one.address.lower() for one in found]


def holds(ours: str, theirs: str) -> bool:
    if "\ufffd" in theirs:
        ours, theirs = (re.sub(r"[^\x00-\x7f]+", "", text) for text in (ours, theirs))
    return words(theirs) in words(ours)


def words(text: str) -> str:
    """What is left when only letters and digits count. What they could not read (U+FFFD) is a difference."""
    return re.sub(r"[\W_]+", "", text.replace("\ufffd", "0fffd0"))


def plain(content: bytes) -> bytes:
    return content.replace(b"\r\n", b"\n").strip()


def moment(parts: Found) -> datetime | None:
    """None for what is no moment, such as a month 15."""
    away = timedelta(hours=parts["tz_hour"], minutes=parts["tz_minute"])
    zone = timezone(-away if parts["tz_before_gmt"] else away)
    fields = {name: parts[name] for name in ("year", "month", "day", "hour", "minute", "second")}
    try:
        return datetime(**fields, tzinfo=zone)
    except ValueError:
        return None
