"""A payload is what the table says, or nothing is logged."""

from typing import Any

import pytest
from servers.tenants import ONE

from postroom.db.pool import Database
from postroom.events import log
from postroom.events.kinds import KINDS, Type, checked
from postroom.events.model import Event, Stream

ID = "0197c0de-0000-7000-8000-000000000000"
GOOD: dict[Type, Any] = {
    Type.ID: ID,
    Type.FLAGS: ["\\Seen"],
    Type.CODE: "sync.not_storable",
    Type.NUMBER: 0,
    Type.TRUE: True,
}
BAD: dict[Type, list[Any]] = {
    Type.ID: [None, 7, "", "7"],
    Type.FLAGS: [None, "\\Seen", {"\\Seen"}, [1], ("\\Seen",)],
    Type.CODE: [None, "", "nonsense", 1],
    Type.NUMBER: [None, -1, True, "1", 1.0],
    Type.TRUE: [None, False, 1],
}


def payload(kind: str) -> dict[str, Any]:
    known = KINDS[kind]
    return {name: GOOD[of] for name, of in {**known.fields, **known.optional}.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_payload_gets_its_version(kind: str) -> None:
    assert checked(Event(kind, payload(kind))) == {**payload(kind), "v": KINDS[kind].version}


@pytest.mark.parametrize("kind", KINDS)
def test_optional_fields_may_be_left_out_and_others_not(kind: str) -> None:
    for name in payload(kind):
        less = {field: value for field, value in payload(kind).items() if field != name}
        if name in KINDS[kind].optional:
            assert checked(Event(kind, less))
        else:
            with pytest.raises(ValueError, match="missing"):
                checked(Event(kind, less))


@pytest.mark.parametrize("kind", KINDS)
def test_a_field_that_is_not_in_the_table_is_refused(kind: str) -> None:
    for name in ("subject", "v", "uids"):
        with pytest.raises(ValueError, match=name):
            checked(Event(kind, {**payload(kind), name: 1}))


@pytest.mark.parametrize("kind", KINDS)
def test_a_value_of_another_type_is_refused(kind: str) -> None:
    known = KINDS[kind]
    for name, of in {**known.fields, **known.optional}.items():
        for value in BAD[of]:
            with pytest.raises(ValueError, match=name):
                checked(Event(kind, {**payload(kind), name: value}))


@pytest.mark.usefixtures("tenants")
async def test_what_is_refused_is_not_logged(db: Database) -> None:
    with pytest.raises(ValueError, match=r"mail\.invented"):
        async with db.transaction(ONE) as conn:
            await log.append(conn, ONE, Stream(7), [Event("mail.invented", {})])
    async with db.transaction(ONE) as conn:
        assert await log.read(conn, ONE, Stream(7)) == []
