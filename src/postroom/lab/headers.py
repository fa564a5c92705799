"""The header of a generated mail: encoded words, the trace of Received lines, threading, list headers."""

from binascii import b2a_base64
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from functools import lru_cache
from random import Random

from postroom.lab.people import MAIL_PROGRAMS, OWNER, Person
from postroom.lab.prose import LANGUAGES, Ink, sentences
from postroom.lab.threads import Facts, Kind, dice, message_id, received_at

CRLF = "\r\n"
ZONES = {"ja": 9, "ko": 9, "zh-CN": 8, "zh-TW": 8, "hi": 5.5, "ru": 3, "tr": 3, "ar": 2, "he": 2, "en": -5}
LATIN = frozenset({"en", "de", "fr", "es", "pl", "tr"})
REFERENCES_AT_MOST = 20


@lru_cache(maxsize=8192)
def encoded(text: str, charset: str, *, quoted: bool) -> str:
    """RFC 2047 encoded words (`Q` when `quoted`, else `B`), or the text itself when it is ASCII."""
    if text.isascii():
        return text
    try:
        text.encode(charset)
    except UnicodeEncodeError:
        charset = "utf-8"
    # A word has at most 75 characters; a character of UTF-8 has up to three bytes.
    step = 14 if not quoted else 6 if charset == "utf-8" else 18
    chunks = (text[at : at + step].encode(charset) for at in range(0, len(text), step))
    if quoted:
        words = (f"=?{charset}?Q?{''.join(_quoted(byte) for byte in chunk)}?=" for chunk in chunks)
    else:
        words = (f"=?{charset}?B?{b2a_base64(chunk, newline=False).decode()}?=" for chunk in chunks)
    return f"{CRLF} ".join(words)


def _quoted(byte: int) -> str:
    if byte == 0x20:
        return "_"
    character = chr(byte)
    return character if character.isascii() and character.isalnum() else f"={byte:02X}"


@lru_cache(maxsize=8192)
def address(person: Person, ink: Ink) -> str:
    """A mailbox as it stands in From and To."""
    name = encoded(person.name, ink.charset, quoted=ink.code in LATIN)
    if name == person.name and not name.replace(" ", "").isalnum():
        name = f'"{name}"'
    return f"{name} <{person.address}>"


def subject(seed: int, facts: Facts, ink: Ink) -> str:
    """Answers carry their root's subject, marked as this language's mail programs mark it."""
    root = facts.ancestors[-1] if facts.ancestors else facts.number
    language = LANGUAGES[ink.code]
    throw = dice(seed, root, 20)
    pool = sentences(ink.code)
    text = pool[throw % len(pool)][: 24 + throw % 40].rstrip(" .。")
    if facts.kind is Kind.NOTICE:
        text = f"{text} #{throw % 900_000 + 100_000}"
    if facts.list_name:
        text = f"[{facts.list_name}] {text}"
    if facts.ancestors:
        mark = language.reply if dice(seed, facts.number, 21) % 4 else f"Re: {language.reply}"
        if mark.isascii():
            return mark + encoded(text, ink.charset, quoted=ink.code in LATIN)
        text = mark + text
    return encoded(text, ink.charset, quoted=ink.code in LATIN)


def header(seed: int, facts: Facts, ink: Ink, rng: Random) -> str:
    """All header lines that do not describe the body, each ended by CRLF."""
    here = message_id(seed, facts.number)
    when = received_at(seed, facts.number)
    zone = timezone(timedelta(hours=ZONES.get(ink.code, 1)))
    to, *cc = facts.recipients
    lines = [
        *_trace(facts, when, rng),
        f"Date: {format_datetime((when - timedelta(seconds=rng.randrange(1, 40))).astimezone(zone))}",
        f"From: {address(facts.sender, ink)}",
        f"To: {address(to, ink)}",
    ]
    if cc:
        lines.append("Cc: " + f",{CRLF} ".join(address(person, ink) for person in cc))
    lines += [f"Message-ID: {here}", f"Subject: {subject(seed, facts, ink)}"]
    if facts.ancestors:
        # The nearest are kept and the first, as RFC 5322 wants long lists cut.
        shown = [*facts.ancestors[: REFERENCES_AT_MOST - 1], facts.ancestors[-1]]
        ids = list(dict.fromkeys(message_id(seed, number) for number in reversed(shown)))
        lines += [f"In-Reply-To: {ids[-1]}", "References: " + f"{CRLF} ".join(ids)]
    lines += _purpose(facts, rng)
    lines.append("MIME-Version: 1.0")
    return CRLF.join(lines) + CRLF


def _trace(facts: Facts, when: datetime, rng: Random) -> list[str]:
    """What the servers on the way have put on top."""
    domain = facts.sender.address.partition("@")[2]
    ours = OWNER.address.partition("@")[2]
    stamp = format_datetime(when.astimezone(UTC))
    lines = [f"Return-Path: <{facts.sender.address}>", f"Delivered-To: {OWNER.address}"]
    for hop in range(rng.randint(2, 4)):
        lines.append(
            f"Received: from mx{hop}.{domain} (mx{hop}.{domain} [192.0.2.{rng.randint(1, 250)}]){CRLF}"
            f"\tby mail{hop}.{ours} (Postfix) with ESMTPS id {rng.getrandbits(44):011X}{CRLF}"
            f"\t(version=TLSv1.3 cipher=TLS_AES_256_GCM_SHA384 bits=256/256 verify=NO){CRLF}"
            f"\tfor <{OWNER.address}>; {stamp}"
        )
    signature = b2a_base64(rng.randbytes(256), newline=False).decode()
    folded = f"{CRLF}\t ".join(signature[at : at + 70] for at in range(0, len(signature), 70))
    lines += [
        f"Authentication-Results: mail0.{ours}; dkim=pass header.d={domain};{CRLF}\tspf=pass"
        f" smtp.mailfrom={facts.sender.address}; dmarc=pass header.from={domain}",
        f"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d={domain}; s=s{rng.randint(1, 9)};{CRLF}"
        f"\th=from:to:subject:date:message-id:mime-version; bh={signature[:43]}=;{CRLF}\tb={folded}",
    ]
    return lines


def _purpose(facts: Facts, rng: Random) -> list[str]:
    """Headers by which a program can tell what kind of mail this is."""
    domain = facts.sender.address.partition("@")[2]
    token = f"{rng.getrandbits(128):032x}"
    if facts.kind is Kind.NEWSLETTER:
        name = facts.list_name or "news"
        return [
            f"List-Id: {name} <{name}.{domain}>",
            f"List-Unsubscribe: <https://{domain}/u/{token}>,{CRLF} <mailto:leave-{token}@{domain}>",
            "List-Unsubscribe-Post: List-Unsubscribe=One-Click",
            "Precedence: bulk",
            f"Feedback-ID: {token[:12]}:{domain}",
        ]
    if facts.kind is Kind.NOTICE:
        return ["Auto-Submitted: auto-generated", "X-Auto-Response-Suppress: All", f"X-Job: {token}"]
    return [f"User-Agent: {MAIL_PROGRAMS[rng.randrange(len(MAIL_PROGRAMS))]}"]
