"""The threat model names tests that exist."""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "threat-model.md").read_text()
NAMED = re.compile(r"`((?:\w+/)+test_\w+\.py)::(test_\w+)`")


@cache
def named_in(file: Path) -> frozenset[str]:
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    return frozenset(node.name for node in ast.parse(file.read_text()).body if isinstance(node, functions))


def test_each_test_that_is_named_exists() -> None:
    named = NAMED.findall(PAGE)
    missing = [
        f"{file}::{test}"
        for file, test in named
        if not (ROOT / "tests" / file).is_file() or test not in named_in(ROOT / "tests" / file)
    ]

    assert named
    assert missing == []


def test_each_defence_names_a_test() -> None:
    defended, _, _ = PAGE.partition("## Not yet")
    rows = [row for row in defended.splitlines() if row.startswith("| ") and row.count(" | ") == 2]
    bare = [row[:60] for row in rows if not NAMED.search(row) and not row.startswith("| threat |")]

    assert len(rows) > 40
    assert bare == []
