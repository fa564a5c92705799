"""Whatever was changed behind the log's back: once that is told, a replay gives what is stored."""

from copy import deepcopy
from datetime import UTC, datetime

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from postroom.events.kinds import checked
from postroom.events.model import Entry, Event, Stream
from postroom.events.replay import Replayed, replay
from postroom.ids import TenantId
from postroom.sync.retell import Lies, retell

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FOLDERS = tuple(f"{number:036}" for number in range(3))
MESSAGES = tuple(f"{number:036}" for number in range(100, 104))

flags = st.sampled_from([frozenset[str](), frozenset({"\\Seen"})])
places = st.dictionaries(st.sampled_from(FOLDERS), flags)
told = st.dictionaries(st.sampled_from(MESSAGES), places.filter(bool))
lying = st.dictionaries(st.sampled_from(MESSAGES), st.builds(Lies, places, st.booleans()))
extra = st.sets(st.sampled_from(FOLDERS))


def heard(state: Replayed, events: list[Event]) -> Replayed:
    """What somebody who has followed so far knows after these."""
    return replay(
        [
            Entry(
                TenantId(1),
                Stream(1),
                number,
                0,
                EPOCH,
                event.kind,
                orjson.dumps(checked(event)).decode(),
                b"",
            )
            for number, event in enumerate(events, state.seq + 1)
        ],
        deepcopy(state),
    )


@settings(max_examples=200)
@given(told, lying, extra, extra)
def test_who_followed_the_log_knows_what_is_stored(
    before: dict[str, dict[str, frozenset[str]]], stored: dict[str, Lies], more: set[str], others: set[str]
) -> None:
    state = Replayed(before, more | {folder for lies in before.values() for folder in lies})
    folders = others | {folder for lies in stored.values() for folder in lies.places}

    found = retell(state, stored, folders)

    after = heard(state, found.events)
    lost = {message: {folder: flags} for message, folder, flags in found.lost}
    waiting = {message: before[message] for message in before.keys() & stored.keys() - lost.keys()}
    placed = {message: lies.places for message, lies in stored.items() if lies.places}
    assert after.messages == waiting | lost | placed
    assert after.folders == folders
    assert (
        retell(after, {m: Lies(p, is_unplaced=False) for m, p in after.messages.items()}, folders).events
        == []
    )
