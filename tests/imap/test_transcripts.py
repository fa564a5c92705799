"""Recorded responses of real servers: however they are cut, they say the same; none is unreadable."""

import os
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from imap.cutting import frames, responses

from postroom.imap.framing import Framer
from postroom.imap.responses import Fetch, Unreadable

CORPORA = Path(__file__).parents[3] / "shared" / "corpora"
SCRIPTS = sorted(path for path in (CORPORA / "imaptest").rglob("*") if path.suffix == "" and path.is_file())
FILES = sorted((CORPORA / "mailkit-imap-transcripts" / "Imap").rglob("*.txt"))
EVERY_CUT = bool(os.environ.get("POSTROOM_EVERY_CUT"))  # 85 s of CPU, for 2.4 million cuts
ENOUGH = 400  # cuts of a response otherwise
MISCOUNTED = {"headers.1+unsolicited-info.txt"}  # edited since it was recorded: a literal is too long
# As they were sent: Yandex leaves out the value of a section, Domino nests ENVELOPE in more parentheses.
DAMAGED = {"getbodypart-missing-content.txt", "fetch-extra-parens.txt", *MISCOUNTED}

pytestmark = pytest.mark.skipif(not FILES, reason="the corpora are not beside the project")


def recorded(path: Path) -> bytes:
    """The recordings have bare line feeds; servers sent CRLF. `A########` stands for a tag."""
    raw = path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return raw if raw.endswith(b"\r\n") else raw + b"\r\n"


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_recording_is_readable(path: Path) -> None:
    said = responses(recorded(path))

    assert bool([one for one in said if isinstance(one, Unreadable)]) == (path.name in MISCOUNTED)
    assert bool([one for one in said if isinstance(one, Fetch) and one.defects]) == (path.name in DAMAGED)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_recording_says_the_same_in_tiny_pieces(path: Path) -> None:
    stream = recorded(path)
    whole = frames(stream)

    for size in (1, 7):
        assert frames(stream, range(size, len(stream), size)) == whole


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_what_a_test_script_expects_of_servers_is_readable(path: Path) -> None:
    """The scripts write `$name` for a value and `{{{` for a literal; other lines are read as they stand."""
    script = re.sub(rb"\$(?:inbox)?sep", b'"/"', path.read_bytes().replace(b"${sep}", b"/"))
    lines = [line for line in script.splitlines() if line.startswith(b"* ") and b"{{{" not in line]
    whole = responses(b"".join(line + b"\r\n" for line in lines))

    assert len(whole) == len(lines)
    assert [line for line, said in zip(lines, whole, strict=True) if isinstance(said, Unreadable)] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_cut_of_every_recording_says_the_same(path: Path) -> None:
    """Each response is cut at its bytes, between the two that stand beside it."""
    stream = recorded(path)
    edges = list(boundaries(stream))
    for number, (start, end) in enumerate(pairwise(edges)):
        first, last = edges[max(number - 1, 0)], edges[min(number + 2, len(edges) - 1)]
        piece = stream[first:last]
        whole = frames(piece)
        step = 1 if EVERY_CUT else max(len(piece) // ENOUGH, 1)
        for cut in range(start - first, end - first, step):
            assert frames(piece, [cut]) == whole


def boundaries(stream: bytes) -> Iterator[int]:
    """Where the stream stands between two responses, its beginning and end included."""
    framer, at = Framer(), 0
    for line in stream.splitlines(keepends=True):
        if framer.empty:
            yield at
        at += len(line)
        list(framer.feed(line))
    yield at
