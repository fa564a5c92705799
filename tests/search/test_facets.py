"""What the matches of a query have in common."""

from datetime import UTC, datetime

import pytest
from search.conftest import NOW, PLACE, Mailbox

from postroom.search import facets, store
from postroom.search.facets import Facet, UnknownFacet
from postroom.search.model import BadQuery, Facets, OfMonth

SENDER = "UPDATE mail_message SET sender_address = $2, sender_name = $3 WHERE id = $1"


async def counted(mailbox: Mailbox, query: str, *wanted: Facet, **more: object) -> Facets:
    async with mailbox.db.transaction(mailbox.tenant) as conn:
        return await facets.count(conn, mailbox.tenant, query, wanted or list(Facet), now=NOW, **more)  # type: ignore[arg-type]


async def sent(mailbox: Mailbox, address: str, name: str, at: datetime, **more: object) -> None:
    number = await mailbox.add("report", at=at, **more)  # type: ignore[arg-type]
    async with mailbox.db.transaction(mailbox.tenant) as conn:
        await conn.execute(SENDER, number, address, name)


async def test_each_facet_counts_the_matches_and_nothing_else(
    mailbox: Mailbox, second_account: Mailbox, neighbour: Mailbox
) -> None:
    for box in (mailbox, second_account, neighbour):
        await box.add_folder("INBOX", "inbox")
        await box.add_folder("Old")
        await box.add("something else", folder="INBOX")
    await sent(neighbour, "eve@x.org", "Eve", NOW, folder="INBOX")
    await sent(mailbox, "ann@x.org", "Ann Old", datetime(2025, 12, 31, 23, 59, tzinfo=UTC), folder="Old")
    await sent(mailbox, "bob@x.org", "Bob", datetime(2026, 1, 1, tzinfo=UTC), folder="INBOX")
    await sent(second_account, "ann@x.org", "Ann New", datetime(2026, 1, 31, tzinfo=UTC), folder="INBOX")
    await sent(mailbox, "ann@x.org", "Ann", datetime(2025, 12, 1, tzinfo=UTC), folder="INBOX")

    found = await counted(mailbox, "report")

    assert (found.counted, found.is_exact) == (4, True)
    assert found.accounts is not None
    assert found.folders is not None
    assert found.senders is not None
    assert [(of.address, of.count) for of in found.accounts] == [
        ("me@example.com", 3),
        ("work@example.org", 1),
    ]
    first, second = (of.id for of in found.accounts)
    assert [(of.account, of.path, of.role, of.count) for of in found.folders] == [
        (first, "INBOX", "inbox", 2),
        (second, "INBOX", "inbox", 1),
        (first, "Old", None, 1),
    ]
    assert [(of.address, of.name, of.count) for of in found.senders] == [
        ("ann@x.org", "Ann New", 3),
        ("bob@x.org", "Bob", 1),
    ]
    assert found.months == [OfMonth("2026-01", 2), OfMonth("2025-12", 2)]
    mine = await counted(mailbox, "report", Facet.MONTH, accounts=[mailbox.account])
    assert mine.months == [OfMonth("2026-01", 1), OfMonth("2025-12", 2)]


async def test_a_mail_in_two_folders_counts_in_both(mailbox: Mailbox) -> None:
    for path in ("A", "B"):
        await mailbox.add_folder(path)
    number = await mailbox.add("report", folder="A")
    async with mailbox.db.transaction(mailbox.tenant) as conn:
        await conn.execute(PLACE, mailbox.tenant, mailbox.folders["B"], 1, number, [])
    found = await counted(mailbox, "report", Facet.FOLDER)

    assert [(of.path, of.count) for of in found.folders or ()] == [("A", 1), ("B", 1)]
    assert found.counted == 1
    assert (found.accounts, found.senders, found.months) == (None, None, None)


@pytest.mark.parametrize("query", ["report", '"the report"'], ids=["by the index", "looked into"])
async def test_what_lies_beyond_the_bound_is_not_counted_and_that_is_told(
    mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    monkeypatch.setattr(store, "RANKED", 1)  # that is of pages, not of facets
    for month in (1, 2, 2):
        await mailbox.add("the report", at=datetime(2026, month, 3, tzinfo=UTC))
    for bound, exact, months in ((3, True, [2, 1]), (2, False, [2])):
        monkeypatch.setattr(store, "COUNTED", bound)
        monkeypatch.setattr(store, "LOOKED", bound)
        found = await counted(mailbox, query, Facet.MONTH)

        assert (found.counted, found.is_exact) == (bound, exact)
        assert [of.month for of in found.months or ()] == [f"2026-0{month}" for month in months]


async def test_nothing_has_nothing_in_common(mailbox: Mailbox) -> None:
    for query in ("nowhere", "in:nowhere"):
        found = await counted(mailbox, query)

        assert (found.counted, found.is_exact) == (0, True)
        assert [found.accounts, found.folders, found.senders, found.months] == [[]] * 4


async def test_a_query_that_is_refused_has_no_facets(mailbox: Mailbox) -> None:
    with pytest.raises(BadQuery):
        await counted(mailbox, "before:someday")


def test_facets_are_named_with_commas() -> None:
    assert facets.read("account, month") == {Facet.ACCOUNT, Facet.MONTH}
    for text in ("colour", "account,", "Account", " "):
        with pytest.raises(UnknownFacet) as refused:
            facets.read(text)
        assert refused.value.data["facets"] == ["account", "folder", "sender", "month"]
