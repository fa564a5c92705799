"""The judge of ids: it objects to what must not be, and to nothing else."""

from collections.abc import Callable

import pytest
from histories.model import World

A, B, C = b"a", b"b", b"c"
FOLDERS = {"INBOX": "f1", "Work": "f2", "Old": "f3", "New": "f3"}
NONE: frozenset[str] = frozenset()


def world() -> World:
    """INBOX holds A and B, Work holds A; they are known as 1, 2 and 1."""
    made = World(["INBOX", "Work", "Old"])
    made.deliver("INBOX", A, NONE)
    made.deliver("INBOX", B, NONE)
    made.deliver("Work", A, NONE)
    assert made.judge({"INBOX": ["1", "2"], "Work": ["1"]}, FOLDERS) == []
    return made


def test_what_was_left_alone_keeps_its_id() -> None:
    made = world()

    assert made.judge({"INBOX": ["1", "2"], "Work": ["1"]}, FOLDERS) == []
    assert "left alone" in made.judge({"INBOX": ["1", "3"], "Work": ["1"]}, FOLDERS)[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda made: made.move("INBOX", 1, "Old"),
        lambda made: (made.copy("INBOX", 1, "Old"), made.expunge("INBOX", 1)),
        lambda made: (made.rename("Old", "New"), made.move("INBOX", 1, "New")),
        lambda made: (made.renumber("INBOX"), made.move("INBOX", 1, "Old")),
    ],
)
def test_a_mail_that_got_elsewhere_keeps_its_id(change: Callable[[World], object]) -> None:
    made = world()
    change(made)
    target = next(name for name, folder in made.folders.items() if name not in {"INBOX", "Work"})

    assert made.judge({"INBOX": ["1"], "Work": ["1"], target: ["2"]}, FOLDERS) == []
    made = world()
    change(made)
    assert made.judge({"INBOX": ["1"], "Work": ["1"], target: ["3"]}, FOLDERS)


def test_a_mail_that_was_gone_may_come_back_as_another() -> None:
    made = world()
    made.expunge("INBOX", 1)
    made.deliver("Old", B, NONE)

    assert made.judge({"INBOX": ["1"], "Work": ["1"], "Old": ["3"]}, FOLDERS) == []


def test_an_id_never_names_another_mail() -> None:
    made = world()
    made.expunge("INBOX", 1)
    made.deliver("INBOX", C, NONE)

    assert "another mail's id" in made.judge({"INBOX": ["1", "2"], "Work": ["1"]}, FOLDERS)[0]


def test_equal_mails_in_one_folder_are_two() -> None:
    made = world()
    made.deliver("INBOX", B, NONE)

    assert "twice in a folder" in made.judge({"INBOX": ["1", "2", "2"], "Work": ["1"]}, FOLDERS)[0]


def test_a_folder_whose_mail_stayed_keeps_its_id_under_another_name() -> None:
    made = world()
    made.rename("Work", "Job")

    wrong = made.judge({"INBOX": ["1", "2"], "Job": ["1"]}, {"INBOX": "f1", "Job": "f4", "Old": "f3"})
    assert wrong == ["the folder Job was f2 and became f4"]
