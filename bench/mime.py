"""MIME: our parser against the standard library's, on one core, over the same mails."""

import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser

from bench.report import Table, ratio
from postroom.lab.mails import mail
from postroom.mime.parse import parse

ROUNDS = 3


def run(messages: int, seed: int) -> Table:
    """Each side reads subject, sender, text and attachments of every mail; the best of three rounds."""
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


def _standard(raw: bytes) -> tuple[str, str, str, int] | str:
    """What a program would ask of the standard library; the name of the error where it raises."""
    try:
        message = BytesParser(EmailMessage, policy=policy.default).parsebytes(raw)
        subject, sender = str(message["subject"] or ""), str(message["from"] or "")
        body = message.get_body(("plain", "html"))
        text = str(body.get_content()) if body is not None else ""
        return subject, sender, text, sum(1 for _ in message.iter_attachments())
    except (LookupError, ValueError, TypeError, AttributeError, KeyError, AssertionError) as error:
        return type(error).__name__


def _disagreements(mails: Sequence[bytes]) -> str:
    """How often the two disagree, and on what. Where one raises, it does not count as an opinion."""
    found: Counter[str] = Counter()
    for raw in mails:
        theirs, ours = _standard(raw), parse(raw)
        if isinstance(theirs, str):
            found[f"the standard library raised {theirs}"] += 1
            continue
        if _words(theirs[0]) != _words(ours.subject):
            found["subject"] += 1
        if ours.sender is not None and ours.sender.address.lower() not in theirs[1].lower():
            found["sender"] += 1
        if ours.html is None and _words(theirs[2]) != _words(ours.text):
            found["text"] += 1
    counted = ", ".join(f"{what} {count}" for what, count in found.most_common()) or "none"
    return f"Disagreements in {len(mails):,} mails: {counted}."


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text)
