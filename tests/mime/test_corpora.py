"""Real and crooked mails that others collected, where they lie beside the project."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mime.checking import check

from postroom.mime import addresses, attachments, dates
from postroom.mime.html import sanitise
from postroom.mime.model import ParsedMessage
from postroom.mime.parse import parse

CORPORA = Path(__file__).parents[2].parent / "shared" / "corpora"
MAIL_PARSER = CORPORA / "mail-parser"
MIME4J = CORPORA / "mime4j" / "core" / "src" / "test" / "resources"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CORPORA.exists(), reason="needs the shared corpora beside the project"),
]


def mails(*folders: str) -> Iterator[Path]:
    for folder in folders:
        for path in sorted((CORPORA / folder).rglob("*")):
            if path.is_file() and path.suffix not in {".json", ".xml", ".png", ".out"}:
                yield path


def words(text: str) -> str:
    """What is left when only letters and digits count: parsers differ in white space."""
    return re.sub(r"[\W_\ufffd]+", "", text)


def same(ours: str, theirs: str) -> bool:
    """Whether `ours` holds `theirs`; where they lost letters, the ASCII ones count."""
    if "\ufffd" in theirs:
        ours, theirs = (re.sub(r"[^\x00-\x7f]+", "", text) for text in (ours, theirs))
    return words(theirs) in words(ours)


def agreement(results: list[bool]) -> float:
    return sum(results) / len(results)


def test_every_mail_is_read_quickly_and_without_an_error() -> None:
    start = time.perf_counter()
    count = size = 0
    for path in mails("cpython-email", "mail-parser", "mime4j", "chatmail-core"):
        raw = path.read_bytes()
        message = parse(raw)
        check(message)
        sanitise(message.html or "").html.encode()
        for item in message.attachments:
            assert len(attachments.content(raw, item)) == item.size, path
        count, size = count + 1, size + len(raw)

    assert count > 500
    assert time.perf_counter() - start < 10 + size / 100_000


def expected() -> Iterator[tuple[ParsedMessage, bytes, dict[str, Any]]]:
    """Mails of mail-parser with what it found in them, as sent and with CRLF."""
    for path in sorted((MAIL_PARSER / "eml").rglob("*.json")):
        mail = path.with_name(path.name.replace(".crlf.json", ".json")).with_suffix(".eml")
        raw = mail.read_bytes()
        if path.name.endswith(".crlf.json"):
            raw = raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        yield parse(raw), raw, json.loads(path.read_text())


def test_subjects_are_those_that_mail_parser_finds() -> None:
    results = []
    for message, _raw, found in expected():
        values = [header["value"] for header in found["parts"][0]["headers"] if header["name"] == "subject"]
        subject = values[0].get("Text") if values and isinstance(values[0], dict) else ""
        results.append(same(message.subject, subject or ""))

    assert agreement(results) >= 0.95


def test_texts_hold_what_mail_parser_reads_as_text() -> None:
    results = []
    for message, _raw, found in expected():
        bodies = [found["parts"][index]["body"] for index in found["text_body"]]
        results += [same(message.text, body["Text"]) for body in bodies if "Text" in body]

    assert agreement(results) >= 0.95


def test_attachments_are_those_that_mail_parser_decodes() -> None:
    results = []
    for message, raw, found in expected():
        ours = [attachments.content(raw, item).replace(b"\r\n", b"\n") for item in message.attachments]
        bodies = [found["parts"][index]["body"] for index in found["attachments"]]
        for body in bodies:
            data = body.get("Binary") or body.get("InlineBinary")
            if data and b"\nbegin " not in b"\n" + bytes(data)[:20]:  # it leaves uuencoded files as they are
                results.append(bytes(data).replace(b"\r\n", b"\n").strip() in [item.strip() for item in ours])

    assert agreement(results) >= 0.95


def test_address_lists_are_read_as_mail_parser_reads_them() -> None:
    """It shows comments inside names, and we do not: addresses are compared."""
    results = []
    for case in json.loads((MAIL_PARSER / "address.json").read_text()):
        value = case["expected"] or {}
        groups = value.get("Group") or [{"addresses": value.get("List") or []}]
        wanted = [item["address"] or "" for group in groups for item in group["addresses"]]
        found = addresses.parse(case["header"], "x", set())
        results.append([item.address.lower() for item in found] == [address.lower() for address in wanted])

    assert agreement(results) >= 0.85  # half of these are riddles, and some of its answers are no addresses


def test_dates_are_read_as_mail_parser_reads_them() -> None:
    results = []
    for case in json.loads((MAIL_PARSER / "date.json").read_text()):
        found, wanted = dates.parse(case["header"], set()), case["expected"]
        if wanted is None or wanted["year"] < 1970:  # these we call absurd
            continue
        minutes = (wanted["tz_hour"] * 60 + wanted["tz_minute"]) * (1 if wanted["tz_before_gmt"] else -1)
        clock = wanted["hour"] * 60 + wanted["minute"] + minutes
        results.append(found is not None and found.hour * 60 + found.minute == clock % (24 * 60))

    assert agreement(results) >= 0.9


def test_texts_hold_what_mime4j_reads_as_text() -> None:
    """Its expected files are the decoded bodies of parts, named by their place."""
    results = []
    for path in sorted(MIME4J.rglob("*.msg")):
        raw = path.read_bytes()
        message = parse(raw)
        files = [attachments.content(raw, item).decode("utf-8", "replace") for item in message.attachments]
        for body in sorted(path.parent.glob(f"{path.stem}_decoded*.txt")):
            text = re.sub(r"(?ms)^begin 644 .*?^end$", "", body.read_text("utf-8", "replace"))
            results.append(any(same(ours, text) for ours in [message.text, message.html or "", *files]))

    assert agreement(results) >= 0.9
