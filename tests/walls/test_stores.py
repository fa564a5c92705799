"""The second wall behind every statement: who names a tenant in another's transaction finds nothing."""

import importlib
import pkgutil
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from functools import cache, partial
from inspect import isasyncgenfunction, iscoroutinefunction, isfunction, signature
from typing import Any, get_args, get_type_hints

import pytest
from walls.samples import arguments
from walls.sides import Side, sides

import postroom
from postroom.db import leases
from postroom.db.pool import Connection, Database
from postroom.events import log
from postroom.ids import TenantId
from postroom.vault.seal import Vault

Function = Callable[..., Any]

ACROSS = {
    "jobs.store.published.take": "an executor, which serves all tenants, was told of a job by a message",
    "jobs.store.queue.finish": "an executor says what became of the jobs that it has, by their fences",
    "jobs.store.queue.record": "as `finish`",
    "jobs.store.queue.beat": "an executor holds the jobs that it has, by their fences",
    "library.store.take": "an application's transaction has no tenant before it; see `library.test_handle`",
    "library.store.advance": "goes on with what `take` began, in the same transaction and no other",
    "providers.slots.store.ask": "connections are shared out over all tenants",
    "providers.slots.store.give_back": "as `ask`",
    "providers.slots.store.learn": "as `ask`",
}
"""Functions that name tenants and are for transactions of none: they look across, see the migrations."""

SAYS_SOMETHING = {
    "events.store.removed.below": "what it was given as the end",
    "events.store.horizon": "a transaction's number, of no tenant",
    "events.store.not_there": "says what is not there",
    "jobs.store.names.short": "cuts what it is given, and sees no neighbours of it",
    "providers.store.today": "when the day ends; nothing was spent in it",
}
"""Functions whose answer is not empty where they see nothing."""

WITHOUT_EFFECT = {
    "events.store.not_there": "all of it is there",
    "events.store.removed.sweep": "nothing of it was removed",
    "events.store.lock_seals": "waits for nobody here",
    "jobs.store.lock_key": "waits for nobody here",
    "jobs.store.fence": "holds a row and says nothing; raises where there is none",
    "db.leases.fence": "as `jobs.store.fence`",
    "mail.store.threads.regroup": "nothing leads elsewhere here",
    "sync.store.retell.single": "nothing lies twice in a folder here",
}
"""Functions that neither tell nor write anything even of one's own tenant, with what the samples hold."""

WRITTEN = "SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::int FROM pg_stat_xact_user_tables"


class Undone(Exception):
    """Rolls back."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a function said, what it raised, and how many rows it wrote."""

    said: Any = None
    error: Exception | None = None
    written: int = 0

    @property
    def is_nothing(self) -> bool:
        return self.written == 0 and (self.error is not None or _is_empty(self.said))


def functions() -> Iterator[tuple[str, Function]]:
    """Every function of a store that takes a connection and names a tenant."""
    modules = [leases, log]
    for found in pkgutil.walk_packages(postroom.__path__, "postroom."):
        if "store" in found.name.split("."):
            modules.append(importlib.import_module(found.name))
    for module in modules:
        for name, function in vars(module).items():
            if isfunction(function) and function.__module__ == module.__name__ and not name.startswith("_"):
                parameters = signature(function).parameters
                kinds = [each.annotation for each in parameters.values()]
                if [*parameters][:1] == ["conn"] and any(map(_names_a_tenant, kinds)):
                    yield f"{module.__name__}.{name}".removeprefix("postroom."), function


@cache
def _names_a_tenant(kind: Any) -> bool:
    if kind is TenantId:
        return True
    if is_dataclass(kind) and isinstance(kind, type):
        return any(_names_a_tenant(inner) for inner in get_type_hints(kind).values())
    return any(_names_a_tenant(inner) for inner in get_args(kind) if inner is not Ellipsis)


def _is_empty(value: Any) -> bool:
    if is_dataclass(value) and not isinstance(value, type):
        return _is_empty(asdict(value))
    if isinstance(value, Mapping):
        return all(_is_empty(inner) for inner in value.values())
    if isinstance(value, tuple | list):
        return all(_is_empty(inner) for inner in value)
    return not value


async def outcome(function: Function, given: Mapping[str, Any], conn: Connection) -> Outcome:
    """In a transaction that the caller undoes."""
    before = await conn.fetchval(WRITTEN)
    try:
        if isasyncgenfunction(function):
            said: Any = [each async for each in function(conn, **given)]
        else:
            assert iscoroutinefunction(function), function
            said = await function(conn, **given)
    except Exception as error:  # noqa: BLE001  whatever it is, it says nothing of rows
        return Outcome(error=error)
    return Outcome(said, written=await conn.fetchval(WRITTEN) - before)


async def tried(within: Callable[[], Any], call: Callable[[Connection], Awaitable[Outcome]]) -> Outcome:
    """What comes of a call in a transaction, which is then undone."""
    found = Outcome()
    try:
        async with within() as conn:
            found = await call(conn)
            raise Undone
    except Undone:
        return found


async def holes(db: Database, other: Side, tenant: TenantId) -> list[str]:
    """Functions by which a transaction of `tenant`, or of none, gets at what the other side has."""
    found = []
    for named, function in functions():
        if named in ACROSS:
            continue
        for within in (db.unbound, partial(db.transaction, tenant)):
            given = arguments(function, named, other)
            seen = await tried(within, partial(outcome, function, given))
            if not seen.is_nothing and (seen.written or named not in SAYS_SOMETHING):
                found.append(f"{named}: {seen}")
    return found


@pytest.fixture
async def two(db: Database, vault: Vault, tenants: None) -> tuple[Side, Side]:  # noqa: ARG001
    return await sides(db, vault)


def test_there_are_functions_to_be_tried() -> None:
    names = {name for name, _ in functions()}

    assert len(names) > 120
    assert (ACROSS.keys() | SAYS_SOMETHING.keys() | WITHOUT_EFFECT.keys()) <= names


async def test_no_function_gets_at_another_tenant_from_a_transaction_that_is_not_its(
    db: Database, two: tuple[Side, Side]
) -> None:
    annika, bertil = two

    assert await holes(db, bertil, annika.tenant) == []


async def test_the_same_calls_get_at_ones_own(db: Database, two: tuple[Side, Side]) -> None:
    _, bertil = two
    idle = []
    for named, function in functions():
        if named in ACROSS or named in WITHOUT_EFFECT:
            continue
        given = arguments(function, named, bertil)
        seen = await tried(partial(db.transaction, bertil.tenant), partial(outcome, function, given))
        if seen.is_nothing or seen.error is not None:
            idle.append(f"{named}: {seen.error or 'nothing'}")

    assert idle == [], "\n".join(idle)
