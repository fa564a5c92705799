"""What is counted, what a day holds, and what is worth writing down."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postroom.imap.heeded import LONGEST, MOST, Heeded
from postroom.imap.responses import Code, Status
from postroom.providers import budget, spent
from postroom.providers.spent import NOTHING, Cost, Ledger, Spent


class Talk:
    """A conversation that has said so much."""

    def __init__(self) -> None:
        self.received, self.alerts, self.is_slow = 0, list[str](), False

    def take_alerts(self) -> list[str]:
        told, self.alerts = self.alerts, []
        return told

    def take_slowed(self) -> bool:
        told, self.is_slow = self.is_slow, False
        return told


def test_gmail_is_used_up_to_most_of_what_it_allows_and_others_without_end() -> None:
    assert budget.limit({"host": "imap.gmail.com"}, "ann@example.org") == 2_000_000_000
    assert budget.limit({}, "ann@gmail.com") == 2_000_000_000
    assert budget.limit({"host": "imap.example.org"}, "ann@example.org") is None


def test_the_accounts_own_limit_comes_first() -> None:
    assert budget.limit({"host": "imap.gmail.com", "daily_bytes": 5}, "ann@gmail.com") == 5


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 10**6))
def test_what_fits_does_not_exceed_the_cap_unless_it_never_could(size: int, spent: int, cap: int) -> None:
    if budget.fits(size, spent, cap):
        assert spent + size <= cap or (size > cap and spent <= cap // 2)
    elif size <= cap:
        assert spent + size > cap
    assert budget.fits(size, 0, cap)  # no mail waits for ever


def test_older_mail_leaves_a_reserve_for_new_mail() -> None:
    assert 0 < budget.for_backfill(1000) < 1000


@pytest.mark.parametrize(
    ("cost", "is_worth"),
    [
        (NOTHING, False),
        (Cost(bytes=(1 << 20) - 1, connections=19, logins=19), False),
        (Cost(bytes=1 << 20), True),
        (Cost(connections=20), True),
        (Cost(logins=20), True),
        (Cost(alerts=("read me",), is_news=True), True),
        (Cost(alerts=("again",)), False),
        (Cost(is_slowed=True), False),
    ],
)
def test_little_is_not_worth_a_statement_of_its_own(cost: Cost, *, is_worth: bool) -> None:
    assert budget.is_worth_writing(cost) is is_worth


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["say", "take", "fail", "open", "close"]), st.integers(0, 99))))
def test_what_was_said_is_taken_once_whatever_fails(steps: list[tuple[str, int]]) -> None:
    one, said, taken, live = Spent(), 0, 0, list[tuple[Talk, object]]()
    for step, size in steps:
        if step == "open":
            talk = Talk()
            counting = one.counting(talk)
            counting.__enter__()
            live.append((talk, counting))
        elif step == "close" and live:
            live.pop(size % len(live))[1].__exit__(None, None, None)  # type: ignore[attr-defined]
        elif step == "say" and live:
            live[size % len(live)][0].received += size
            said += size
        elif step == "take":
            cost = one.pending()
            one.take(cost)
            taken += cost.bytes
        assert one.bytes == said
        assert one.pending().bytes == said - taken
        assert one.taken == taken


def test_what_comes_while_it_is_written_down_is_not_lost() -> None:
    one, talk = Spent(), Talk()
    with one.counting(talk):
        talk.received, talk.alerts = 10, ["first"]
        cost = one.pending()
        talk.received, talk.alerts, talk.is_slow = 15, ["second"], True
        one.connections += 1
        one.take(cost)

        assert one.pending() == Cost(5, 1, 0, ("second",), is_news=True, is_slowed=True)
        one.take(one.pending())
        talk.alerts = ["second"]

        assert one.pending() == Cost(alerts=("second",))  # told before, and slow no more


def test_a_process_remembers_so_many_accounts_and_the_latest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spent, "MOST_ACCOUNTS", 2)
    ledger = Ledger()
    first, second = ledger.of(1), ledger.of(2)
    assert ledger.of(1) is first
    ledger.of(3)

    assert ledger.of(1) is first
    assert ledger.of(2) is not second


def test_alerts_are_heard_in_any_state_the_latest_and_not_at_any_length() -> None:
    heeded = Heeded()
    for n in range(20):
        heeded.take(Status(None, "OK", Code("ALERT", None), f"{n} " + "x" * 10_000))
    heeded.take(Status("P1", "OK", None, "Success [THROTTLED]"))
    heeded.take(Status("P2", "OK", None, "Success"))

    assert [text.split()[0] for text in heeded.alerts] == [str(n) for n in range(20 - MOST, 20)]
    assert {len(text) for text in heeded.alerts} == {LONGEST}
    assert heeded.throttled == 1
