"""What folders are for, said by the server or told by their names."""

import pytest

from postroom.providers.imap.roles import with_roles
from postroom.providers.model import FolderRole, RemoteFolder


def folder(path: str, *attributes: str) -> tuple[RemoteFolder, frozenset[str]]:
    return RemoteFolder(path.encode(), path, "/"), frozenset(attributes)


def roles(*folders: tuple[RemoteFolder, frozenset[str]]) -> dict[str, FolderRole]:
    return {found.path: found.role for found in with_roles(folders) if found.role}


def test_the_servers_word_counts_more_than_a_name() -> None:
    found = roles(folder("INBOX"), folder("Sent"), folder("Outgoing", "\\sent"), folder("Junk"))

    assert found == {"INBOX": FolderRole.INBOX, "Outgoing": FolderRole.SENT, "Junk": FolderRole.SPAM}


@pytest.mark.parametrize(
    ("path", "role"),
    [
        ("Gesendete Objekte", FolderRole.SENT),
        ("Éléments envoyés", FolderRole.SENT),
        ("Отправленные", FolderRole.SENT),
        ("已发送", FolderRole.SENT),
        ("送信済みアイテム", FolderRole.SENT),
        ("보낸편지함", FolderRole.SENT),
        ("Entwürfe", FolderRole.DRAFTS),
        ("下書き", FolderRole.DRAFTS),
        ("INBOX/Papierkorb", FolderRole.TRASH),
        ("Koš", FolderRole.TRASH),
        ("Çöp Kutusu", FolderRole.TRASH),
        ("SPAM", FolderRole.SPAM),
        ("[Gmail]/Spam", FolderRole.SPAM),
        ("Архив", FolderRole.ARCHIVE),
    ],
)
def test_well_known_names_are_known_in_many_languages(path: str, role: FolderRole) -> None:
    assert roles(folder(path)) == {path: role}


def test_a_name_deeper_down_means_nothing() -> None:
    assert roles(folder("Projects/Sent"), folder("Lists/Archive/2024")) == {}


def test_only_one_folder_gets_a_role_by_its_name() -> None:
    assert list(roles(folder("Sent"), folder("Sent Items"))) == ["Sent"]
