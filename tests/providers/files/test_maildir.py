"""Maildir: written and read byte for byte, and no folder's name leads out of it."""

import io
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postroom.providers.files import maildir, names
from postroom.providers.files.maildir import MaildirWriter

THEN = datetime(2024, 2, 29, 12, 0, 5, tzinfo=UTC)
CRUEL = [
    "../../etc/passwd",
    "/etc/passwd",
    "..",
    ".",
    "a/../../b",
    "a\0b",
    "con\n",
    "-rf",
    "x" * 5000,
    "....",
    "~",
    "%",
]


def test_bytes_flags_and_dates_come_back_as_they_were(tmp_path: Path) -> None:
    writer = MaildirWriter(tmp_path / "mail")
    bodies = [b"A: 1\r\n\r\nfrom IMAP\r\n", b"A: 2\n\nfrom Unix\n", b"", b"\0\xff no newline"]
    for body in bodies:
        writer.write("INBOX", "/", body, flags=["\\Seen", "\\Flagged", "$Label"], received_at=THEN)
    writer.write("INBOX", "/", io.BytesIO(b"a file"), received_at=THEN)

    (inbox,) = maildir.folders(tmp_path / "mail")
    entries = maildir.entries(inbox)

    assert [entry.place.read_bytes() for entry in entries] == [*bodies, b"a file"]
    assert entries[0].flags == {"\\Seen", "\\Flagged"}
    assert entries[4].flags == set()
    assert entries[0].place.stat().st_mtime == THEN.timestamp()
    assert entries[0].place.name.endswith(",S=19:2,FS")
    assert not any((tmp_path / "mail" / "tmp").iterdir())


def test_folders_nest_as_maildir_plus_plus(tmp_path: Path) -> None:
    writer = MaildirWriter(tmp_path)
    for path in ("INBOX", "Lists/python", "Entwürfe", "日本語/台北", "v1.2/a&b"):
        writer.add_folder(path, "/")

    assert (tmp_path / ".Lists.python" / "cur").is_dir()
    assert {f.path for f in maildir.folders(tmp_path)} == {
        "INBOX", "Lists/python", "Entwürfe", "日本語/台北", "v1.2/a&b",
    }  # fmt: skip


def test_folders_of_other_programs_are_found(tmp_path: Path) -> None:
    for place in ("Lists/python", "Lists/python/old", ".Sent"):
        for part in ("cur", "new", "tmp"):
            (tmp_path / place / part).mkdir(parents=True)
    (tmp_path / "loop").symlink_to(tmp_path)

    assert [f.path for f in maildir.folders(tmp_path)] == ["Sent", "Lists/python", "Lists/python/old"]


@pytest.mark.parametrize("path", CRUEL)
@pytest.mark.parametrize("delimiter", ["/", ".", None])
def test_a_cruel_name_stays_below_the_root(tmp_path: Path, path: str, delimiter: str | None) -> None:
    root = tmp_path / "mail"
    place = MaildirWriter(root).add_folder(path, delimiter)

    assert place.parent == root
    assert place.name.startswith(".")
    assert ".." not in place.name
    assert list(tmp_path.iterdir()) == [root]


@settings(deadline=None)
@given(st.text(max_size=30))
def test_a_name_can_be_read_back(level: str) -> None:
    encoded = names.encode(level)

    assert names.decode(encoded) == level
    assert not set(encoded) & set("./\0\n\\:*~")


@settings(deadline=None)
@given(st.lists(st.text(min_size=1, max_size=400), unique=True, max_size=5))
def test_names_stay_apart_and_fit_a_file_system(levels: list[str]) -> None:
    encoded = {names.encode(level) for level in levels}

    assert len(encoded) == len(levels)
    assert all(len(name.encode()) <= names.LONGEST for name in encoded)


def test_a_message_whose_flags_change_while_we_read_is_found(tmp_path: Path) -> None:
    MaildirWriter(tmp_path).write("INBOX", "/", b"hello")
    (inbox,) = maildir.folders(tmp_path)
    (entry,) = maildir.entries(inbox)
    entry.place.rename(entry.place.with_name(entry.place.name + "S"))

    with maildir.opened(inbox, entry) or io.BytesIO() as file:
        assert file.read() == b"hello"
    (moved,) = maildir.entries(inbox)
    assert maildir.validity([moved]) == maildir.validity([entry])
    moved.place.unlink()
    assert maildir.opened(inbox, entry) is None
