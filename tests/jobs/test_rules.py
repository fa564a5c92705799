"""What is shown and stored of a job."""

import pytest

from postroom.jobs.rules import LARGEST_RESULT, storable, worker_named


@pytest.mark.parametrize(
    ("holder", "shown"),
    [("0123456789abcdef 4711 1", "01234567.4711"), ("a b c d", "a b c d"), ("", "")],
)
def test_a_holder_is_shown_as_its_machine_and_process_where_it_says_so(holder: str, shown: str) -> None:
    assert worker_named(holder) == shown


@pytest.mark.parametrize(
    "result", [{"text": "x" * LARGEST_RESULT}, {"text": "\0"}, {"text": "\\\0"}, {"at": object()}]
)
def test_a_result_that_postgresql_cannot_hold_is_a_fault_of_who_gave_it(result: dict[str, object]) -> None:
    with pytest.raises((TypeError, ValueError)):
        storable(result)


@pytest.mark.parametrize("result", [None, {}, {"text": "\\u0000"}, {"text": "x" * (LARGEST_RESULT // 2)}])
def test_a_result_that_it_can_hold_is_stored_as_it_is(result: dict[str, object] | None) -> None:
    assert storable(result) == result
