"""The rules of the house that no linter knows."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src" / "postroom"
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "bench").glob("*.md"),
]
MARKS = tuple(mark * 7 for mark in "<=>")
MODULES = sorted(SRC.rglob("*.py"))
SQL_MODULES = {"store", "log", "migrate", "leases", "listen", "processes", "roles"}
BROAD_ALLOWED = 3  # around one job, one request, one batch of an application's handler
BANNED_NAMES = {"service", "utils", "util", "helpers", "manager", "common", "base"}


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for path in MODULES:
        yield path.relative_to(SRC), ast.parse(path.read_text())


def lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or 0) - node.lineno + 1


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SRC)))
def test_a_module_is_short_and_says_what_it_is_for(path: Path) -> None:
    source = path.read_text()

    assert source.count("\n") <= 400
    assert ast.get_docstring(ast.parse(source)), "say in one sentence what this module is for"
    assert path.stem not in BANNED_NAMES


@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_page_has_no_marks_of_a_merge(path: Path) -> None:
    assert [line for line in path.read_text().splitlines() if line.startswith(MARKS)] == []


def test_only_store_modules_hold_sql() -> None:
    starts = ("SELECT ", "INSERT ", "UPDATE ", "DELETE ", "WITH ")
    offenders = [
        f"{path}:{node.lineno}"
        for path, tree in trees()
        if path.stem not in SQL_MODULES and path.parent.name != "store"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value.lstrip().startswith(starts)
    ]

    assert offenders == []


def test_a_function_fits_on_a_screen() -> None:
    offenders = [
        f"{path}:{node.lineno} {node.name}: {lines(node)} lines"
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and lines(node) > 60
    ]

    assert offenders == []


def test_broad_excepts_stand_in_three_places_only() -> None:
    found = [
        f"{path}:{node.lineno}"
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or getattr(node.type, "id", "") in {"Exception", "BaseException"})
    ]

    assert len(found) <= BROAD_ALLOWED, found


def test_imports_stand_at_the_top() -> None:
    """Except in the doors that start fast: the package itself and the command line."""
    offenders = [
        f"{path}:{inner.lineno}"
        for path, tree in trees()
        if path.parts[0] not in {"__init__.py", "cli"}
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(node)
        if isinstance(inner, ast.Import | ast.ImportFrom)
    ]

    assert offenders == []


def test_what_routes_read_is_what_their_caller_may_see() -> None:
    """By `Door.data_of`, or in the transaction that is open; `Door.database` sees all of the tenant."""
    allowed = {
        "api/health.py": 2,  # of nobody
        "accounts/routes.py": 3,  # what is done to an account that was found, or is not there yet
        "events/page_routes.py": 1,  # of the whole log, for who sees all of it
        "people/routes.py": 6,  # of keys and people, who belong to no account
        "webhooks/routes.py": 1,  # of one that is tried out; nobody who is limited has any
    }
    found = {
        str(path): sum(
            isinstance(node, ast.Attribute)
            and node.attr == "database"
            and getattr(node.value, "id", "") == "door"
            for node in ast.walk(tree)
        )
        for path, tree in trees()
    }

    assert {path: count for path, count in found.items() if count} == allowed
