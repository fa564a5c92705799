"""The reference page says what the table of kinds says, and what `check` finds."""

from collections.abc import Iterator
from pathlib import Path

from postroom.events.check import SAYS
from postroom.events.kinds import KINDS

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "events.md"


def rows() -> Iterator[str]:
    """The table as it should stand there; after a change of kinds, copy it from the failing test."""
    for name, kind in KINDS.items():
        fields = [f"`{field}` {of.value}" for field, of in kind.fields.items()]
        fields += [f"[`{field}` {of.value}]" for field, of in kind.optional.items()]
        yield f"| `{name}` | {kind.version} | {', '.join(fields)} | {kind.says} |"


def test_the_table_of_kinds_is_the_one_in_the_code() -> None:
    written = [
        line
        for line in PAGE.read_text().splitlines()
        if line.startswith(
            (
                "| `mail.",
                "| `accounts.",
                "| `events.seal_",
                "| `jobs.",
                "| `sync.",
                "| `library.",
                "| `webhooks.",
            )
        )
    ]

    assert written == list(rows())


def test_every_code_of_a_fault_is_explained() -> None:
    page = PAGE.read_text()

    assert [code for code in SAYS if f"`{code}`" not in page] == []
