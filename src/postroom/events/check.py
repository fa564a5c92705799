"""Check an export of the log with nothing but this file: `python check.py EXPORT`.

It imports the standard library alone, so it can be copied anywhere and read in one sitting. `postroom events
verify` walks the rows of the database with the same code. An export is lines of JSON, in this order:

    {"log": "postroom", "version": 1, "tenant": 1}                2 where some of it was removed
    {"seal": [number, what was signed, signature]}                    any number, by number
    {"head": [stream, seq, position, hash]}                           one for each stream
    {"entry": [stream, seq, position, at, kind, body, hash]}          by stream, then seq
    {"end": {"seal": number of the last, "heads": n, "entries": n}}

An entry's hash covers the hash before it, so nothing can be altered, removed, inserted or moved without a
break. Whoever rewrites all that follows, too, hides the break from the chain, but not from a seal: the hashes
at the ends of all streams at one moment, signed (Ed25519) with a key that the database never saw. It says

    {"at", "heads": [[stream, seq, hash]], "key": public key, "number", "previous": digest, "tenant",
     "removed": [[stream, seq, position, hash]]}

The last, if there, are ends of what was removed on purpose: chains begin there, and what is before is passed.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256, sha512
from pathlib import Path
from typing import Any, TypeAlias

Row: TypeAlias = tuple[int, int, int, str, str, str, bytes]  # stream, seq, position, at, kind, body, hash
Keys: TypeAlias = Iterable[bytes] | None  # public keys to trust; None: all of them
Heads: TypeAlias = dict[int, tuple[int, int, bytes]]  # stream -> seq, position, hash

VERSION, MOST_FAULTS = 2, 1000
NONE = (0, 0, b"")
UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, RecursionError)
SAYS = {
    "altered": "Entry {seq} of stream {stream} was altered, or the one before together with its hash.",
    "missing": "{which} of stream {stream}: missing.",
    "misplaced": "Entry {seq} of stream {stream} stands in the wrong place.",
    "headless": "Stream {stream}, which ends with entry {seq}, has no head.",
    "surplus": "Entry {seq} of stream {stream} stands behind the head.",
    "head": "The head of stream {stream} is not that of its last entry, {seq}.",
    "rewritten": "Entry {seq} of stream {stream} is not that of seal {seal}: it or one before was rewritten.",
    "withheld": "Stream {stream} is said to be removed up to {seq}, and the newest seal says otherwise.",
    "seal_missing": "Seal {seq} is missing.",
    "seal_altered": "Seal {seq} was altered.",
    "seal_misplaced": "Seal {seq} does not follow from the seal before it.",
    "seal_untrusted": "Seal {seq}, signed with {key}, is not ours.",
    "export": "This is not a whole export ({reason}).",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """What is not as it was: an entry of a stream by its number, or without a stream, a seal by its."""

    code: str
    stream: int | None
    seq: int | None
    message: str


class Findings(list[Fault]):
    """Faults, but no more than a thousand; `more` counts the rest."""

    more = 0

    def add(self, code: str, stream: int | None, seq: int | None, **more: Any) -> None:
        if len(self) >= MOST_FAULTS:
            self.more += 1
        else:
            self.append(Fault(code, stream, seq, SAYS[code].format(stream=stream, seq=seq, **more)))


def link(previous: bytes, row: Row) -> bytes:
    """The hash that a row should have."""
    _, seq, position, at, kind, body, _ = row
    return sha256(previous + f"{seq}\n{position}\n{at}\n{kind}\n{body}".encode()).digest()


@dataclass(frozen=True, slots=True)
class Sealing:
    """What a seal says, its signature being good."""

    tenant: int
    number: int
    previous: bytes  # digest of the seal before
    key: bytes
    heads: dict[int, tuple[int, bytes]]  # stream -> seq, hash
    removed: Heads
    digest: bytes


def opened(body: str, signature: bytes) -> Sealing:
    """Read a seal. Raises one of `UNREADABLE` unless it is signed by the key that it names."""
    data = json.loads(body)
    key, previous = bytes.fromhex(data["key"]), bytes.fromhex(data["previous"])
    heads = {int(stream): (int(seq), bytes.fromhex(digest)) for stream, seq, digest in data["heads"]}
    if not is_signed(key, body.encode(), signature):
        raise ValueError("its signature is wrong")
    digest = sha256(body.encode() + signature).digest()
    removed = {stream: (*end, bytes.fromhex(last)) for stream, *end, last in data.get("removed", ())}
    return Sealing(int(data["tenant"]), int(data["number"]), previous, key, heads, removed, digest)


def read_seal(line: str) -> Sealing:
    """The seal in a file, or in a line of an export. Raises one of `UNREADABLE`."""
    _, body, signature = json.loads(line)["seal"]
    return opened(body, bytes.fromhex(signature))


class Streams:
    """Walks the rows of all streams, by stream and seq, and compares them with heads and sealed heads."""

    def __init__(self, tenant: int, heads: Heads, seals: Sequence[Sealing], findings: Findings) -> None:
        self._tenant, self._heads, self._findings = tenant, heads, findings
        self._removed = max(seals, key=lambda seal: seal.number).removed if seals else {}
        self._sealed: dict[int, dict[int, tuple[bytes, int]]] = {}  # stream -> seq -> hash, seal
        for seal in seals:
            for stream, (seq, digest) in seal.heads.items():
                self._sealed.setdefault(stream, {})[seq] = digest, seal.number
        self._unseen = {**dict.fromkeys(self._sealed), **dict.fromkeys(heads)}
        self.entries = 0
        self._stream: int | None = None
        self._gone = self._last = self._position = 0  # what was removed; the row before
        self._before = self._previous = b""  # the last two hashes
        self._should = (0, b"")  # a number, and the hash that its row should have had
        self._seals: dict[int, tuple[bytes, int]] = {}

    def walk(self, rows: Iterable[Row]) -> None:
        """The next rows, any number of them."""
        for stream, seq, position, at, kind, body, digest in rows:
            if stream != self._stream:
                self._end()
                if self._stream is not None and stream < self._stream:
                    self._findings.add("misplaced", stream, seq)
                self._begin(stream)
            self.entries += 1
            if 0 < seq <= self._gone:
                continue
            text = f"{seq}\n{position}\n{at}\n{kind}\n{body}".encode()
            if seq == self._last + 1 and sha256(self._previous + text).digest() == digest:
                self._before, self._previous, self._last = self._previous, digest, seq
            else:
                self._odd((stream, seq, position, at, kind, body, digest))
            self._position = position
            if seq in self._seals and self._seals[seq][0] != digest:
                self._findings.add("rewritten", stream, seq, seal=self._seals[seq][1])

    def finish(self) -> None:
        """There are no more rows."""
        self._end()
        for stream in list(self._unseen):
            self._begin(stream)
            self._end()

    def _missing(self, stream: int, first: int, last: int) -> None:
        which = f"Entry {first}" if first == last else f"Entries {first} to {last}"
        self._findings.add("missing", stream, first, which=which)

    def _begin(self, stream: int) -> None:
        self._unseen.pop(stream, None)
        self._stream, (self._last, self._position, self._previous) = stream, self._removed.get(stream, NONE)
        first = sha256(f"postroom log\n{self._tenant}\n{stream}".encode()).digest()
        self._gone, self._previous = self._last, self._previous or first
        self._seals = self._sealed.get(stream, {})

    def _end(self) -> None:
        """Compare the end of a stream with its head and its sealed heads."""
        if self._stream is None:
            return
        stream, last, head = self._stream, self._last, self._heads.get(self._stream, NONE)
        if (end := max(head[0], *self._seals, 0)) > last:
            self._missing(stream, last + 1, end)
        if stream not in self._heads:
            self._findings.add("headless", stream, last)
        elif head[0] < last:
            self._findings.add("surplus", stream, head[0] + 1)
        elif head[0] == last and head[1:] != (self._position, self._previous):
            self._findings.add("head", stream, last)

    def _odd(self, row: Row) -> None:
        """A row that does not simply follow. Say what is wrong, and find the way back into the chain."""
        stream, seq, digest, last = row[0], row[1], row[-1], self._last
        if seq <= last:
            self._findings.add("misplaced", stream, seq)
            if seq == last and link(self._before, row) == digest:
                self._previous = digest  # of two with one number this is the right one
            return
        if seq > last + 1:
            self._missing(stream, last + 1, seq - 1)
        elif self._should[0] != last or link(self._should[1], row) != digest:
            self._findings.add("altered", stream, seq)
            self._should = seq, link(self._previous, row)
        self._before, self._previous, self._last = self._previous, digest, seq


class Seals:
    """Walks the seals of a tenant, each of which holds the digest of the one before.

    A seal by a key that is not trusted (any more) counts when one by a trusted key follows from it. `kept` is
    one that was kept elsewhere; it should be among them.
    """

    def __init__(self, tenant: int, trusted: Keys, findings: Findings, kept: Sealing | None = None) -> None:
        self._tenant, self._findings, self._kept, self._is_kept = tenant, findings, kept, kept is None
        self._trusted = None if trusted is None else set(trusted)
        self._doubtful: list[Sealing] = []
        self._digest: bytes | None = bytes(32)  # of the seal before; None where that is unknown
        self.number = 0
        self.newest: Sealing | None = None
        self.keys: set[bytes] = set()

    def walk(self, number: int, body: str, signature: bytes) -> None:
        """The next seal."""
        if number != self.number + 1:
            self._break("seal_missing", self.number + 1)
        self.number = number
        try:
            seal = opened(body, signature)
        except UNREADABLE:
            self._break("seal_altered", number)
            return
        if (seal.tenant, seal.number) != (self._tenant, number) or self._digest not in (None, seal.previous):
            self._break("seal_misplaced", number)
            return
        self._is_kept |= self._kept is not None and seal.digest == self._kept.digest
        self.keys.add(seal.key)
        if self._trusted is not None and seal.key not in self._trusted:
            self._doubtful.append(seal)
        else:
            self._doubtful.clear()
            self.newest = seal
        self._digest = seal.digest

    def finish(self) -> list[Sealing]:
        """There are no more seals. Those that the streams should be compared with."""
        self._doubt()
        kept = self._kept
        if kept and not self._is_kept:
            is_ours = kept.tenant == self._tenant and (self._trusted is None or kept.key in self._trusted)
            code = "seal_missing" if is_ours else "seal_untrusted"
            self._findings.add(code, None, kept.number, key=kept.key.hex())
            kept = kept if is_ours else None
        return [seal for seal in (self.newest, kept) if seal]

    def _break(self, code: str, number: int) -> None:
        self._findings.add(code, None, number)
        self._digest = None
        self._doubt()

    def _doubt(self) -> None:
        for seal in self._doubtful:
            self._findings.add("seal_untrusted", None, seal.number, key=seal.key.hex())
        self._doubtful.clear()


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found, and how much it looked at."""

    findings: Findings
    streams: int = 0
    entries: int = 0
    seal: int = 0  # the number of the newest seal, 0 without any
    keys: tuple[str, ...] = ()  # what seals are signed with


def check(lines: Iterable[str], trusted: Keys = None, kept: Sealing | None = None) -> Report:
    """Check an export. Without `trusted` keys, those that its seals bring are believed."""
    findings = Findings()
    try:
        return _check(_Lines(lines), trusted, kept, findings)
    except UNREADABLE as error:
        findings.add("export", None, None, reason=error)
        return Report(findings)


class _Lines:
    """The lines of an export, part by part."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines: Iterator[Any] = map(json.loads, lines)
        self._next = next(self._lines, None)

    def take(self, part: str) -> Iterator[Any]:
        """Lines of this part, until another begins."""
        while self._next is not None and part in self._next:
            line, self._next = self._next, next(self._lines, None)
            yield line


def _check(lines: _Lines, trusted: Keys, kept: Sealing | None, findings: Findings) -> Report:
    [header] = lines.take("log")
    if header["version"] > VERSION:
        raise ValueError(f"version {header['version']} wants a newer check.py")
    seals = Seals(header["tenant"], trusted, findings, kept)
    for number, body, signature in (line["seal"] for line in lines.take("seal")):
        seals.walk(number, body, bytes.fromhex(signature))
    heads: Heads = {}
    for stream, seq, position, digest in (line["head"] for line in lines.take("head")):
        if heads and stream <= next(reversed(heads)):
            raise ValueError(f"the head of stream {stream} stands in the wrong place")
        heads[stream] = seq, position, bytes.fromhex(digest)
    streams = Streams(header["tenant"], heads, seals.finish(), findings)
    entries = (line["entry"] for line in lines.take("entry"))
    streams.walk((*entry[:-1], bytes.fromhex(entry[-1])) for entry in entries)
    streams.finish()
    found = {"seal": seals.number, "heads": len(heads), "entries": streams.entries}
    [line] = lines.take("end")
    if line["end"] != found:
        findings.add("export", None, None, reason=f"it should hold {line['end']}, and holds {found}")
    return Report(findings, len(heads), streams.entries, seals.number, tuple(map(bytes.hex, seals.keys)))


# Ed25519 (RFC 8032), for checking only: nothing here is secret, so it may take its time.

P, ORDER = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT = pow(2, (P - 1) // 4, P)  # of -1
Point: TypeAlias = tuple[int, int, int, int]  # X, Y, Z, T with x = X/Z, y = Y/Z, xy = T/Z


def is_signed(key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether this is the signature of the message by that key."""
    public = _decoded(key)
    scalar = int.from_bytes(signature[32:], "little")
    if public is None or len(signature) != 64 or scalar >= ORDER:
        return False
    challenge = int.from_bytes(sha512(signature[:32] + key + message).digest(), "little") % ORDER
    negative = P - public[0], public[1], public[2], P - public[3]
    found = ZERO
    for bit in reversed(range(253)):  # scalar * BASE - challenge * public, in one go
        found = _added(found, found)
        found = _added(found, BASE) if scalar >> bit & 1 else found
        found = _added(found, negative) if challenge >> bit & 1 else found
    return _encoded(found) == signature[:32]


def _added(a: Point, b: Point) -> Point:
    """RFC 8032, 5.1.4. Adding a point to itself is no exception."""
    s, u = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    v, w = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = u - s, w - v, w + v, u + s
    return e * f % P, g * h % P, f * g % P, e * h % P


def _encoded(point: Point) -> bytes:
    x, y = (coordinate * pow(point[2], -1, P) % P for coordinate in point[:2])
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _decoded(data: bytes) -> Point | None:
    """RFC 8032, 5.1.3; None where there is no such point."""
    value = int.from_bytes(data, "little")
    sign, y = value >> 255, value & (1 << 255) - 1
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    x = x if x * x % P == square else x * ROOT % P
    if len(data) != 32 or y >= P or x * x % P != square or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


ZERO = (0, 1, 1, 0)
BASE = _decoded((4 * pow(5, -1, P) % P).to_bytes(32, "little")) or ZERO


def main(arguments: list[str] | None = None) -> int:
    """The command. Status 0 only if nothing was found; 2: it was called in a way that makes no sense."""
    parser = argparse.ArgumentParser(prog="check.py", description="Check an export of postroom's log.")
    parser.add_argument("export", type=Path, help="what `postroom events export` wrote")
    parser.add_argument("--key", action="append", type=bytes.fromhex, help="the public key to trust")
    parser.add_argument("--seal", type=Path, help="a seal that you kept")
    given = parser.parse_args(arguments)
    try:
        kept = read_seal(given.seal.read_text("utf-8")) if given.seal else None
        with given.export.open(encoding="utf-8", newline="\n") as lines:
            report = check(lines, given.key, kept)
    except (OSError, *UNREADABLE) as error:
        parser.error(str(error))
    sys.stdout.writelines(f"{line}\n" for line in _said(report, is_trusted=bool(given.key)))
    return 1 if report.findings else 0


def _said(report: Report, *, is_trusted: bool) -> Iterator[str]:
    for fault in report.findings:
        yield fault.message
    count = len(report.findings) + report.findings.more
    state = f"{count} faults" if count else "nothing is missing or altered"
    yield f"{report.entries} entries in {report.streams} streams, sealed up to seal {report.seal}: {state}."
    if report.keys and not is_trusted:
        yield f"Signed with {', '.join(report.keys)}: is that the key that you know? Then say so with --key."


if __name__ == "__main__":
    sys.exit(main())
