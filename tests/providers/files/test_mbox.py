"""What goes into an mbox comes out of it, byte for byte."""

import io
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postroom.providers.files import mbox
from postroom.providers.files.mbox import MboxIndex, MboxMessage, MboxWriter

LINES = st.sampled_from(
    [
        b"",
        b"\n",
        b"\r\n",
        b"From ",
        b">From a\n",
        b">>From \r\n",
        b"From x Mon Jan  1 10:00:00 2024\n",
        b"Fro",
        b">",
        b"a\n",
    ]
)
MESSAGES = st.lists(LINES, max_size=8).map(b"".join) | st.binary(max_size=40)


def content(message: MboxMessage) -> bytes:
    if isinstance(message.content, bytes):
        return message.content
    with message.content as file:
        return file.read()


def write(root: Path, *messages: bytes, as_files: bool = False) -> Path:
    writer = MboxWriter(root)
    place = writer.add_folder("INBOX", "/")
    for raw in messages:
        writer.write("INBOX", "/", io.BytesIO(raw) if as_files else raw)
    writer.close()
    return place


@given(st.lists(MESSAGES, max_size=5), st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_bytes_come_back_as_they_were(messages: list[bytes], as_files: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        index = MboxIndex(write(Path(folder), *messages, as_files=as_files))

        assert [content(index.read(n)) for n in range(len(index))] == messages


@given(st.lists(MESSAGES, max_size=4), st.integers(1, 9))
@settings(max_examples=150, deadline=None)
def test_it_does_not_matter_how_a_large_message_is_cut(messages: list[bytes], piece: int) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(mbox, "PIECE", piece)
        patch.setattr(mbox, "LARGE", 0)
        index = MboxIndex(write(Path(folder), *messages))

        assert [content(index.read(n)) for n in range(len(index))] == messages


def test_other_programs_see_quoted_lines_and_a_blank_line_between(tmp_path: Path) -> None:
    place = write(tmp_path, b"A: 1\n\nFrom here\n>From there\n", b"B: 2\r\n\r\nno newline")

    first, second, third = place.read_bytes().split(b"From ", 2)[0:3]
    assert first == b""
    assert place.read_bytes().count(b"\n\nFrom ") == 1
    assert b">From here\n>>From there\n\n" in place.read_bytes()
    assert second
    assert third


FOREIGN = b"""From ann@example.org Mon Jan  1 10:00:00 2024
Subject: one
Status: RO
X-Status: AF

unquoted From the middle
From the beginning of a line, but with no date
>From quoted

From - Tue Feb 13 2:00 2024
From bob@example.org Wed Feb 14 08:15:00 +0100 2024
Subject: two
"""


def test_a_file_that_quotes_only_what_it_must_is_read(tmp_path: Path) -> None:
    (tmp_path / "foreign").write_bytes(FOREIGN)
    index = MboxIndex(tmp_path / "foreign")
    first, second = index.read(0), index.read(1)

    assert len(index) == 2
    assert content(first).endswith(
        b"of a line, but with no date\nFrom quoted\n\nFrom - Tue Feb 13 2:00 2024\n"
    )
    assert first.flags == {"\\Seen", "\\Answered", "\\Flagged"}
    assert first.received_at == datetime(2024, 1, 1, 10, tzinfo=UTC)
    assert content(second) == b"Subject: two\n"


def test_a_file_with_crlf_throughout_is_read(tmp_path: Path) -> None:
    (tmp_path / "dos").write_bytes(FOREIGN.replace(b"\n", b"\r\n") + b"\r\n")
    index = MboxIndex(tmp_path / "dos")

    assert len(index) == 2
    assert content(index.read(1)) == b"Subject: two\r\n"


def test_what_changes_the_file_changes_the_validity(tmp_path: Path) -> None:
    place = write(tmp_path, b"one\n")
    before = MboxIndex(place).validity
    assert MboxIndex(place).validity == before

    write(tmp_path, b"two\n")

    assert MboxIndex(place).validity != before
    assert len(MboxIndex(place)) == 2


def test_an_empty_folder_is_an_empty_file(tmp_path: Path) -> None:
    assert len(MboxIndex(write(tmp_path))) == 0
    assert [folder.path for folder in mbox.folders(tmp_path)] == ["INBOX"]


def test_a_message_larger_than_memory_should_be_comes_as_a_file(tmp_path: Path) -> None:
    raw = b"Subject: large\r\n\r\n" + b"From me, as so often\r\n" * 100_000
    message = MboxIndex(write(tmp_path, raw, as_files=True)).read(0)

    assert not isinstance(message.content, bytes)
    assert content(message) == raw


def test_the_layout_of_thunderbird_is_read(tmp_path: Path) -> None:
    (tmp_path / "Archive").write_bytes(FOREIGN)
    (tmp_path / "Archive.msf").write_bytes(b"index")
    (tmp_path / "Archive.sbd").mkdir()
    (tmp_path / "Archive.sbd" / "2024").write_bytes(FOREIGN)

    assert sorted(folder.path for folder in mbox.folders(tmp_path)) == ["Archive", "Archive/2024"]
