"""MIME: our parser against the standard library's, on one core, over the same mails."""

import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser

from bench.report import Table, ratio
from postroom.lab.mails import mail
from postroom.mime.parse import parse

ROUNDS = 3


def run(messages: int, seed: int) -> Table:
    """Each side tells headers, texts and attachments of every mail; the best of three rounds counts.

    Ours also makes a preview, and text of mails that have only HTML.
    """
    mails = [mail(seed, number) for number in range(messages)]
    ours = _best(parse, mails)
    # The standard library is slow enough that a part of the mails, spread over all of them, must do.
    share = mails[:: max(1, messages // 400)]
    theirs = _best(_standard, share) * len(mails) / len(share)
    table = Table("MIME parse, one core", ["parser", "mails a second", "against the standard library"])
    table.add("email.parser, policy.default", f"{messages / theirs:,.0f}", "1")
    table.add("postroom.mime", f"{messages / ours:,.0f}", ratio(theirs / ours, goal=20))
    table.note(_disagreements(share))
    return table


def _best(read: Callable[[bytes], object], mails: Sequence[bytes]) -> float:
    times = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for raw in mails:
            read(raw)
        times.append(time.process_time() - began)
    return min(times)


@dataclass(frozen=True, slots=True)
class Standard:
    """What ours tells of a mail, as the standard library tells it."""

    headers: list[tuple[str, str]]
    subject: str
    sender: str
    date: str
    text: str
    html: str
    attachments: list[tuple[str | None, str, int]]


def _standard(raw: bytes) -> Standard | str:
    """The name of the error where it raises."""
    try:
        message = BytesParser(EmailMessage, policy=policy.default).parsebytes(raw)
        texts: dict[str, list[str]] = {"plain": [], "html": []}
        attachments = []
        for part in message.walk():
            if part.is_multipart():
                continue
            kind = part.get_content_subtype()
            if part.get_content_maintype() == "text" and not part.is_attachment() and kind in texts:
                texts[kind].append(str(part.get_content()))
            else:
                content = part.get_payload(decode=True)
                attachments.append((part.get_filename(), part.get_content_type(), len(content)))
        return Standard(
            [(name, str(value)) for name, value in message.items()],
            str(message["subject"] or ""),
            str(message["from"] or ""),
            str(message["date"] or ""),
            "\n".join(texts["plain"]),
            "\n".join(texts["html"]),
            attachments,
        )
    except (LookupError, ValueError, TypeError, AttributeError, AssertionError) as error:
        return type(error).__name__


def _disagreements(mails: Sequence[bytes]) -> str:
    """How often the two disagree, and on what. Where one raises, it does not count as an opinion."""
    found: Counter[str] = Counter()
    for raw in mails:
        theirs, ours = _standard(raw), parse(raw)
        if isinstance(theirs, str):
            found[f"the standard library raised {theirs}"] += 1
            continue
        if _words(theirs.subject) != _words(ours.subject):
            found["subject"] += 1
        if ours.sender is not None and ours.sender.address.lower() not in theirs.sender.lower():
            found["sender"] += 1
        if theirs.text and _words(theirs.text) != _words(ours.text):
            found["text"] += 1
        if len(theirs.attachments) != len(ours.attachments):
            found["number of attachments"] += 1
        elif [size for _, _, size in theirs.attachments] != [a.size for a in ours.attachments]:
            found["size of an attachment"] += 1
    counted = ", ".join(f"{what} {count}" for what, count in found.most_common()) or "none"
    return f"Disagreements in {len(mails):,} mails: {counted}."


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text)
