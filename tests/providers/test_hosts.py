"""Which host gets another connection, as a process sees it."""

import pytest

from postroom.providers.hosts import LONGEST, SLOW, TOLERATED, Hosts
from postroom.providers.model import NoConnection

NOW = 1000.0


def used(
    hosts: Hosts, name: str = "a", *, took: float = 0.0, went: bool | None = True, roll: float = 1.0
) -> None:
    """A connection that is opened, used and closed."""
    hosts.begin(name)
    number, _ = hosts.opens(name, NOW - took)
    hosts.opened(name, number, NOW)
    if went is not None:
        hosts.learn(name, NOW, NOW, went=went, roll=roll)
    hosts.end(name)


def test_a_host_that_answers_quickly_gets_as_many_as_anybody_likes() -> None:
    hosts = Hosts(share=1)
    for _ in range(100):
        hosts.check("a", NOW)
        hosts.begin("a")
        number, _ = hosts.opens("a", NOW)
        hosts.opened("a", number, NOW + SLOW / 2)


def test_a_host_that_was_slow_to_let_us_in_gets_its_share() -> None:
    hosts = Hosts(share=2)
    used(hosts, took=2 * SLOW)
    for _ in range(2):
        hosts.check("a", NOW)
        hosts.begin("a")

    with pytest.raises(NoConnection):
        hosts.check("a", NOW)
    hosts.check("b", NOW)
    hosts.end("a")
    hosts.check("a", NOW)


def test_a_host_that_lets_somebody_wait_gets_its_share_until_it_is_quick_again() -> None:
    hosts = Hosts(share=1)
    hosts.begin("a")
    number, _ = hosts.opens("a", NOW)

    hosts.check("a", NOW + SLOW / 2)
    with pytest.raises(NoConnection):
        hosts.check("a", NOW + 2 * SLOW)
    hosts.opened("a", number, NOW + 3 * SLOW)
    hosts.end("a")
    used(hosts)
    hosts.begin("a")
    hosts.check("a", NOW)


def test_of_those_that_are_opened_at_once_only_a_share_may_take_its_time() -> None:
    hosts = Hosts(share=2)

    assert [hosts.opens("a", NOW)[1] for _ in range(4)] == [None, None, SLOW, SLOW]


def test_what_comes_to_nothing_again_and_again_has_to_rest_longer_each_time() -> None:
    hosts = Hosts(share=2)
    rests = []
    for _ in range(20):
        used(hosts, went=False)
        rests.append(next((s for s in range(int(2 * LONGEST)) if is_let_in(hosts, NOW + s)), None))

    assert rests[: TOLERATED - 1] == [0, 0]
    assert rests[TOLERATED - 1 : TOLERATED + 3] == [1, 2, 4, 8]
    assert rests[-1] == LONGEST


def test_a_rest_may_be_anything_between_that_and_nothing() -> None:
    hosts = Hosts(share=2)
    for _ in range(10):
        used(hosts, went=False, roll=0.0)

    assert is_let_in(hosts, NOW)


@pytest.mark.parametrize(("went", "is_over"), [(True, True), (None, False)])
def test_only_a_completed_use_ends_the_rests(went: bool | None, is_over: bool) -> None:
    hosts = Hosts(share=2)
    for _ in range(5):
        used(hosts, went=False)
    used(hosts, went=went)

    assert is_let_in(hosts, NOW) is is_over


def test_those_that_were_open_together_and_break_together_count_once() -> None:
    hosts = Hosts(share=2)
    for number in range(1000):
        hosts.learn("a", NOW, NOW + 1 + number / 1000, went=False, roll=1)

    assert is_let_in(hosts, NOW + 2)


def test_the_more_are_turned_away_the_later_they_come_back() -> None:
    hosts = Hosts(share=1)

    waits = [hosts.turned_away("a", "It is full.").wait.total_seconds() for _ in range(2000)]

    assert waits == sorted(waits)
    assert waits[0] == 1
    assert waits[100] == 6
    assert waits[-1] == 60


def test_without_a_share_nobody_is_turned_away() -> None:
    hosts = Hosts()
    for _ in range(10):
        used(hosts, took=60, went=False)

    assert is_let_in(hosts, NOW)


def test_not_more_hosts_are_remembered_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postroom.providers.hosts.MOST", 3)
    hosts = Hosts(share=1)
    hosts.begin("used")
    for number in range(100):
        used(hosts, str(number))

    assert len(hosts._hosts) == 3
    assert "used" in hosts._hosts


def test_hosts_that_are_all_used_are_all_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postroom.providers.hosts.MOST", 3)
    hosts = Hosts(share=1)
    for name in "abcd":
        hosts.begin(name)

    assert list(hosts._hosts) == list("abcd")


def is_let_in(hosts: Hosts, now: float) -> bool:
    try:
        hosts.check("a", now)
    except NoConnection:
        return False
    return True
