"""Folders and accounts by the names that queries give them."""

from costs import seconds
from hypothesis import given
from hypothesis import strategies as st

from postroom.ids import AccountId, FolderId
from postroom.search.find import matching_accounts, matching_folders
from postroom.search.store import FolderName
from postroom.text.fold import fold

NAMES = st.text(alphabet="aBé/. ", max_size=6)
ROLES = st.sampled_from([None, "a", "inbox"])
FOLDERS = st.lists(
    st.builds(FolderName, st.integers(1, 9).map(FolderId), NAMES, st.sampled_from(["/", ".", None]), ROLES),
    unique_by=lambda folder: folder.id,
)


def is_named(folder: FolderName, name: str) -> bool:
    wanted, path = fold(name).strip(), fold(folder.path)
    if wanted in (folder.role, path):
        return True
    if folder.delimiter is None:
        return False
    wanted, path = (text.replace(folder.delimiter, "/") for text in (wanted, path))
    return f"/{path}".endswith(f"/{wanted}")


@given(st.lists(NAMES), FOLDERS)
def test_a_folder_goes_by_its_role_its_path_and_the_end_of_that(
    names: list[str], folders: list[FolderName]
) -> None:
    found = matching_folders(names, folders)

    for name in names:
        assert set(found[name]) == {folder.id for folder in folders if is_named(folder, name)}, name


def test_an_account_goes_by_its_address_or_by_a_part_of_several() -> None:
    accounts = [(AccountId(1), "Ann@x.org"), (AccountId(2), "joann@x.org"), (AccountId(3), "bob@x.org")]

    assert matching_accounts(["ann@X.org", "ann", "x.org", "eve", ""], accounts) == {
        "ann@X.org": [1],
        "ann": [1, 2],
        "x.org": [1, 2, 3],
        "eve": [],
        "": [],
    }


def test_many_names_among_many_folders_take_little_longer_than_one() -> None:
    folders = [FolderName(FolderId(n), f"Archive/{n % 20}/Projekt Ä {n}", "/", None) for n in range(1000)]
    names = [f"a{number}" for number in range(300)]
    one = seconds(lambda: matching_folders(names[:1], folders))

    assert seconds(lambda: matching_folders(names, folders)) < 5 * one
