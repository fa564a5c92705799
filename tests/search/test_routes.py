"""What the API answers to a search."""

from collections.abc import Callable

import pytest
from fastapi import FastAPI
from search.conftest import Mailbox
from servers.api import Client, key_of

from postroom.db.pool import Database
from postroom.http.caller import Scope
from postroom.search.routes import HitOut, SearchPage

Connect = Callable[[str | None], Client]


async def client_of(mailbox: Mailbox, db: Database, connect: Connect) -> Client:
    return connect(await key_of(db, mailbox.tenant, Scope.READ))


async def test_a_hit_shows_the_mail_and_where_it_answers(
    mailbox: Mailbox, db: Database, connect: Connect
) -> None:
    await mailbox.add("Dear <all>,\nthe café opens", subject="Café & more", sender="Ann", seen=False)
    api = await client_of(mailbox, db, connect)

    answer = await api.get("/v1/search", params={"q": "cafe"})

    assert answer.status_code == 200
    page = answer.json()
    assert (page["total"], page["total_is_exact"], page["next"]) == (1, True, None)
    (hit,) = page["items"]
    message = hit["message"]
    assert (message["subject"], message["from"]["name"], message["read"]) == ("Café & more", "Ann", False)
    assert hit["subject_html"] == "<mark>Café</mark> &amp; more"
    assert hit["snippet_html"] == "Dear &lt;all&gt;, the <mark>café</mark> opens"


async def test_a_page_of_hits_has_the_fields_of_its_model(
    mailbox: Mailbox, app: FastAPI, db: Database, connect: Connect
) -> None:
    await mailbox.add("report")
    api = await client_of(mailbox, db, connect)

    page = (await api.get("/v1/search", params={"q": "report"})).json()
    operation = app.openapi()["paths"]["/v1/search"]["get"]

    assert list(page) == list(SearchPage.model_fields)
    assert list(page["items"][0]) == list(HitOut.model_fields)
    (schema,) = operation["responses"]["200"]["content"]["application/json"]["schema"].values()
    assert schema == "#/components/schemas/SearchPage"


async def test_a_page_says_that_older_mail_was_not_looked_into(
    mailbox: Mailbox, db: Database, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("postroom.search.store.LOOKED", 2)
    await mailbox.add("annual report")
    for _ in range(2):
        await mailbox.add("report annual")
    api = await client_of(mailbox, db, connect)

    first = (await api.get("/v1/search", params={"q": '"annual report"'})).json()
    asked = {"q": '"annual report"', "cursor": first["next"]}
    second = (await api.get("/v1/search", params=asked)).json()

    assert (first["items"], first["total"], first["total_is_exact"]) == ([], 0, False)
    assert [len(second["items"]), second["total"], second["total_is_exact"]] == [1, 1, True]
    assert second["next"] is None


async def test_pages_lead_to_each_other_by_a_sealed_cursor(
    mailbox: Mailbox, neighbour: Mailbox, db: Database, connect: Connect
) -> None:
    for _ in range(3):
        await mailbox.add("report")
    api = await client_of(mailbox, db, connect)
    other = await client_of(neighbour, db, connect)

    first = (await api.get("/v1/search", params={"q": "report", "limit": 2})).json()
    asked = {"q": "report", "limit": 2, "cursor": first["next"]}
    second = (await api.get("/v1/search", params=asked)).json()

    assert len({hit["message"]["id"] for hit in first["items"] + second["items"]}) == 3
    assert second["next"] is None
    refused = await other.get("/v1/search", params=asked)
    assert (refused.status_code, refused.json()["code"]) == (400, "http.bad_cursor")


async def test_a_query_that_cannot_be_understood_says_where(
    mailbox: Mailbox, db: Database, connect: Connect
) -> None:
    api = await client_of(mailbox, db, connect)

    answer = await api.get("/v1/search", params={"q": "report before:someday"})

    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (400, "search.bad_query")
    assert "YYYY-MM-DD" in problem["detail"]
    assert problem["data"] == {"position": len("report before:"), "length": len("someday")}


async def test_facets_are_told_to_who_asks_for_them(mailbox: Mailbox, db: Database, connect: Connect) -> None:
    await mailbox.add("report")
    await mailbox.add("report")
    api = await client_of(mailbox, db, connect)
    asked: dict[str, str | int] = {"q": "report", "limit": 1}

    assert (await api.get("/v1/search", params=asked)).json()["facets"] is None
    first = (await api.get("/v1/search", params={**asked, "facets": "account,month"})).json()
    second = (
        await api.get("/v1/search", params={**asked, "facets": "account,month", "cursor": first["next"]})
    ).json()
    unknown = await api.get("/v1/search", params={**asked, "facets": "colour"})

    assert first["facets"] == second["facets"]
    assert (first["facets"]["counted"], first["facets"]["is_exact"]) == (2, True)
    [account] = first["facets"]["accounts"]
    assert account == {
        "id": first["items"][0]["message"]["account"],
        "address": "me@example.com",
        "count": 2,
    }
    assert first["facets"]["months"] == [{"month": "2026-01", "count": 2}]
    assert (first["facets"]["folders"], first["facets"]["senders"]) == (None, None)
    assert (unknown.status_code, unknown.json()["code"]) == (400, "search.unknown_facet")


async def test_an_account_of_somebody_else_is_as_good_as_none(
    mailbox: Mailbox, neighbour: Mailbox, db: Database, connect: Connect
) -> None:
    await mailbox.add("report")
    await neighbour.add("report")
    mine = await client_of(mailbox, db, connect)
    found = (await mine.get("/v1/search", params={"q": "report"})).json()
    asked = {"q": "report", "account": found["items"][0]["message"]["account"]}
    theirs = await client_of(neighbour, db, connect)

    assert (await mine.get("/v1/search", params=asked)).json()["total"] == 1
    assert (await theirs.get("/v1/search", params=asked)).status_code == 404
