"""Consumers: how far readers have come, kept by the server, moved by one worker at a time."""

import asyncio
from typing import Any

import asyncpg
import pytest
from events.following import MAIL, append, everything
from servers.api import Client, Connect, key_of
from servers.tenants import ANNS, BOBS, TWO

from postroom.db.pool import Database
from postroom.events import consumers, feed
from postroom.events.model import Event

pytestmark = pytest.mark.usefixtures("tenants")

GONE = Event("mail.removed", {"message": MAIL})
PATH = "/v1/events/consumers"


async def page(client: Client, name: str = "tickets", **asked: Any) -> Any:
    answer = await client.get("/v1/events", params={"consumer": name, **asked})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def put(client: Client, name: str = "tickets", status: int = 200, **body: Any) -> Any:
    answer = await client.put(f"{PATH}/{name}", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


async def test_a_consumer_reads_on_from_where_it_was_put(api: Client, db: Database) -> None:
    await append(db, ANNS, GONE, GONE, GONE)
    there = await everything(db)
    made = await put(api, cursor="start")
    first = await page(api, limit=2)
    again = await page(api, limit=2)
    moved = await put(api, cursor=first["next"], if_cursor=first["after"])
    rest = await page(api)
    await put(api, cursor="end")
    none = await page(api)
    shown = (await api.get(f"{PATH}/tickets")).json()

    assert first["entries"] == again["entries"]
    assert [one["seq"] for one in first["entries"]] == [1, 2]
    assert [one["seq"] for one in rest["entries"]] == [3]
    assert (made["cursor"], moved["cursor"]) == (feed.BEGINNING, feed.cursor_of(there[1]))
    assert none["entries"] == []
    assert (shown["cursor"], shown["created_at"]) == (feed.cursor_of(there[2]), made["created_at"])
    assert shown["moved_at"] > moved["moved_at"] > made["moved_at"]


async def test_how_far_each_is_behind_shows(api: Client, db: Database, dsn: str) -> None:
    await append(db, ANNS, GONE)
    await append(db, ANNS, GONE)
    there = await everything(db)
    await put(api, "all", cursor="end")
    await put(api, "behind", cursor=feed.cursor_of(there[0]))
    await put(api, "lost", cursor="end")
    await put(api, "none", cursor="start")
    conn = await asyncpg.connect(dsn)
    await conn.execute(
        "UPDATE postroom.events_consumer SET cursor = $1 WHERE name = 'lost'", _other(there[0])
    )
    await conn.close()
    found = (await api.get(PATH)).json()["consumers"]

    times = [one.at.isoformat().replace("+00:00", "Z") for one in there]
    assert [(one["name"], one["unread_since"], one["problem"]) for one in found] == [
        ("all", None, None),
        ("behind", times[1], None),
        ("lost", None, "events.place_lost"),
        ("none", times[0], None),
    ]


def _other(entry: Any) -> str:
    """A cursor of a future that was lost."""
    return feed._packed((entry.position, entry.stream, entry.seq + 7), bytes(6))


async def test_of_two_workers_of_one_name_one_moves_it_on(api: Client, db: Database) -> None:
    await append(db, ANNS, *[GONE] * 6)
    begun = [await api.put(f"{PATH}/tickets", json={"cursor": "start", "if_cursor": "start"})] * 2
    for _ in range(3):
        ours, theirs = await page(api, limit=2), await page(api, limit=2)
        answers = await asyncio.gather(
            *(
                api.put(f"{PATH}/tickets", json={"cursor": found["next"], "if_cursor": found["after"]})
                for found in (ours, theirs)
            )
        )

        assert sorted(answer.status_code for answer in answers) == [200, 409]
        late = next(answer.json() for answer in answers if answer.status_code == 409)
        assert (late["code"], late["data"]) == ("events.consumer_moved", {"cursor": ours["next"]})
    assert {answer.status_code for answer in begun} == {200}
    assert (await page(api))["entries"] == []


async def test_who_begins_late_does_not_begin_anew(api: Client, db: Database) -> None:
    await append(db, ANNS, GONE)
    last = feed.cursor_of((await everything(db))[0])
    none = await put(api, cursor=last, if_cursor=last, status=409)
    await put(api, cursor=last, if_cursor="start")
    late = await put(api, cursor="end", if_cursor="start", status=409)

    assert none["data"] == {"cursor": feed.BEGINNING}
    assert late["data"] == {"cursor": last}


@pytest.mark.parametrize("before", ["end", "nonsense", ""])
async def test_what_is_no_place_is_not_taken_for_another_workers(api: Client, before: str) -> None:
    """`moved` would have a worker read on from where it already is, and fail again, for ever."""
    made = await put(api, cursor="end")
    refused = await put(api, cursor="start", if_cursor=before, status=400)

    assert refused["code"] == "events.bad_cursor"
    assert (await api.get(f"{PATH}/tickets")).json()["cursor"] == made["cursor"]


async def test_a_consumer_that_lost_its_place_can_be_put_elsewhere(
    api: Client, db: Database, dsn: str
) -> None:
    await append(db, ANNS, GONE)
    lost = (await put(api, cursor="end"))["cursor"]
    conn = await asyncpg.connect(dsn)
    await conn.execute("DELETE FROM postroom.events_event")
    await conn.close()
    refused = await api.get("/v1/events", params={"consumer": "tickets"})
    moved = await put(api, cursor="start", if_cursor=lost)

    assert (refused.status_code, refused.json()["code"]) == (409, "events.place_lost")
    assert (moved["cursor"], moved["problem"]) == (feed.BEGINNING, None)


async def test_each_tenant_has_its_own(api: Client, db: Database, connect: Connect) -> None:
    other = connect(await key_of(db, TWO))
    await append(db, BOBS, GONE, tenant=TWO)
    await put(other, cursor="end")
    await put(api, cursor="start")
    await put(api, "more", cursor="start")
    gone = [(await client.delete(f"{PATH}/tickets")).status_code for client in (api, api)]

    assert gone == [204, 404]
    assert [one["name"] for one in (await other.get(PATH)).json()["consumers"]] == ["tickets"]
    assert [one["name"] for one in (await api.get(PATH)).json()["consumers"]] == ["more"]


async def test_there_are_so_many_at_most(api: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "MOST", 2)
    for name in ("a", "b", "a"):
        await put(api, name, cursor="start")
    refused = await put(api, "c", cursor="start", status=409)

    assert refused["code"] == "events.too_many_consumers"
    assert len((await api.get(PATH)).json()["consumers"]) == 2


async def test_one_too_many_keeps_none_from_moving_on(api: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that were made at once may both be there."""
    for name in ("a", "b"):
        await put(api, name, cursor="start")
    monkeypatch.setattr(consumers, "MOST", 1)
    await put(api, "a", cursor="end", if_cursor="start")
    await put(api, "b", cursor="start")

    assert len((await api.get(PATH)).json()["consumers"]) == 2


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        ({"consumer": "nobody"}, 404, "events.consumer_not_found"),
        ({"consumer": "tickets", "after": "start"}, 400, "events.bad_cursor"),
        ({"consumer": "Not A Name"}, 422, "http.invalid_request"),
    ],
)
async def test_a_page_of_no_consumer_is_refused(
    api: Client, asked: dict[str, str], status: int, code: str
) -> None:
    await put(api, cursor="start")
    answer = await api.get("/v1/events", params=asked)

    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_a_consumer_is_not_put_where_nothing_is(api: Client) -> None:
    assert (await put(api, cursor="nonsense", status=400))["code"] == "events.bad_cursor"
    assert (await api.get(PATH)).json() == {"consumers": []}
