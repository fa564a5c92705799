from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from postroom.ids import AccountId, FolderId, new_public_id
from postroom.mail.model import Folder
from postroom.providers.model import RemoteFolder
from postroom.sync.look import FolderCopy
from postroom.sync.newest import newest

START = datetime(2026, 1, 1, tzinfo=UTC)


def copy_of(number: int, messages: int) -> FolderCopy:
    name = f"folder{number}"
    folder = Folder(
        id=FolderId(number),
        public_id=new_public_id(),
        account_id=AccountId(1),
        name=name.encode(),
        path=name,
        role=None,
        selectable=True,
        object_id=None,
    )
    remote = RemoteFolder(name.encode(), name)
    return FolderCopy(folder, remote, None, None, 1, messages + 1, todo=range(1, messages + 1))


class Server:
    """Knows when every message came, in minutes, and counts what it was asked."""

    def __init__(self, *folders: Sequence[int]) -> None:
        self.folders = folders
        self.copies = [copy_of(number, len(dates)) for number, dates in enumerate(folders)]
        self.asked = 0

    async def describe(self, copy: FolderCopy, uids: Sequence[int]) -> list[datetime | None]:
        self.asked += len(uids)
        return [START + timedelta(minutes=self.folders[copy.folder.id][uid - 1]) for uid in uids]

    async def newest(self, most: int) -> dict[int, int]:
        found = await newest(self.copies, most, self.describe)
        return {int(copy.folder.id): count for copy, count in found}


async def test_the_newest_of_all_folders_are_chosen_though_one_has_most_of_them() -> None:
    server = Server(range(0, 10_000), range(0, 10_000, 10), range(0, 5000, 7))

    chosen = await server.newest(200)

    assert chosen == {0: 182, 1: 18}
    assert server.asked < 500


async def test_a_folder_that_refuses_is_left_out() -> None:
    server = Server(range(100), range(100))

    async def describe(copy: FolderCopy, uids: Sequence[int]) -> list[datetime | None]:
        if copy.folder.id == 0:
            copy.put_off()
            return []
        return await server.describe(copy, uids)

    found = await newest(server.copies, 20, describe)

    assert [(copy.folder.id, count) for copy, count in found] == [(1, 20)]


@given(st.lists(st.lists(st.integers(0, 10_000), max_size=60), min_size=1, max_size=5), st.integers(1, 80))
async def test_where_dates_follow_numbers_nothing_older_comes_before_something_newer(
    folders: list[list[int]], most: int
) -> None:
    server = Server(*map(sorted, folders))

    chosen = await server.newest(most)

    dates = [sorted(dates, reverse=True) for dates in folders]
    taken = [when for n, of in enumerate(dates) for when in of[: chosen.get(n, 0)]]
    left = [when for n, of in enumerate(dates) for when in of[chosen.get(n, 0) :]]
    assert len(taken) >= min(most, sum(map(len, folders)))
    assert not left or not taken or max(left) <= min(taken)
