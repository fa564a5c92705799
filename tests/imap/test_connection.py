"""The state machine: what it sends when, and what it makes of servers that misbehave."""

from collections.abc import Iterable
from io import BytesIO

import pytest
from imap.talking import INBOX, READY, kinds, talk

from postroom.imap import auth, commands
from postroom.imap.connection import Completed, Connection, State
from postroom.imap.errors import (
    AuthRefused,
    CommandFailed,
    Desynchronised,
    Disconnected,
    Insecure,
    LimitExceeded,
    LocalError,
    RemoteError,
)
from postroom.imap.framing import Limits
from postroom.imap.responses import Exists, Fetch, FolderStatus, Status
from postroom.imap.uids import UidSet

LOGIN = auth.login("ann", "secret")
ONE = UidSet.of([1])


def opened() -> Connection:
    connection = Connection()
    talk(INBOX, connection, commands.select(b"INBOX"))
    return connection


def completed(events: Iterable[object]) -> list[Completed]:
    return [event for event in events if isinstance(event, Completed)]


def test_a_literal_waits_for_the_servers_go_ahead() -> None:
    connection = Connection()
    talk(
        """
        S: * OK ready
        C: P1 LOGIN "ann" {7}
        S: + go on
        C: pässö
        S: P1 OK done
        """,
        connection,
        auth.login("ann", "pässö"),
    )

    assert connection.state is State.AUTHENTICATED


def test_a_short_literal_does_not_wait_if_the_server_agrees() -> None:
    talk(
        READY
        + """
        C: P1 LOGIN "ann" {7+}
        C: pässö
        S: P1 OK done
        """,
        Connection(),
        auth.login("ann", "pässö"),
    )


def test_a_large_literal_waits_even_so() -> None:
    connection = Connection()
    talk(READY, connection)
    connection.capabilities = frozenset({"LITERAL+"})
    connection.send(commands.append(b"Drafts", b"x" * 100_001))

    assert connection.outgoing() == b'P1 APPEND "Drafts" () {100001}\r\n'


def test_a_refused_literal_is_not_sent() -> None:
    connection = Connection()
    seen = talk(
        """
        S: * PREAUTH ready
        C: P1 APPEND "Drafts" () {5}
        S: P1 NO [OVERQUOTA] full
        C: P2 NOOP
        S: P2 OK
        """,
        connection,
        commands.append(b"Drafts", b"hello"),
        commands.noop(),
    )

    assert isinstance(completed(seen)[0].failure, CommandFailed)
    assert connection.idle


def test_commands_are_pipelined_each_with_its_own_tag() -> None:
    connection = opened()
    for uid in (1, 2, 3):
        connection.send(commands.uid_fetch(UidSet.of([uid]), ["FLAGS"]))

    assert connection.outgoing().count(b"\r\n") == 3
    seen = connection.receive(b"* 1 FETCH (UID 1)\r\nP2 OK\r\nP3 NO gone\r\n")
    assert kinds(seen) == ["Fetch", "Completed", "Completed"]
    assert not connection.idle
    assert [one.failure is None for one in completed(connection.receive(b"P4 OK\r\n"))] == [True]
    assert connection.idle


def test_a_command_that_changes_the_state_runs_alone() -> None:
    connection = opened()
    connection.send(commands.noop())
    connection.send(commands.select(b"Sent"))
    connection.send(commands.uid_fetch(ONE, ["FLAGS"]))

    assert connection.outgoing() == b"P2 NOOP\r\n"
    connection.receive(b"P2 OK\r\n")
    assert connection.outgoing() == b'P3 SELECT "Sent"\r\n'
    connection.receive(b"P3 OK\r\n")
    assert connection.outgoing() == b"P4 UID FETCH 1 (UID FLAGS)\r\n"


def test_nothing_is_sent_while_a_literal_waits() -> None:
    connection = opened()
    connection.send(commands.append(b"Drafts", b"hello"))
    connection.send(commands.noop())

    assert connection.outgoing() == b'P2 APPEND "Drafts" () {5}\r\n'
    connection.receive(b"+\r\n")
    assert connection.outgoing() == b"hello\r\nP3 NOOP\r\n"


def test_the_selected_folder_is_known() -> None:
    selected = opened().selected

    assert selected is not None
    assert (selected.name, selected.exists, selected.validity) == (b"INBOX", 5, 7)
    assert (selected.uid_next, selected.highest_modseq, selected.read_only) == (9, 99, False)


def test_what_is_said_of_other_folders_does_not_touch_the_selected_one() -> None:
    connection = opened()
    seen = talk(
        """
        S: * STATUS "Sent" (MESSAGES 99 UIDVALIDITY 1)
        S: * STATUS "INBOX" (MESSAGES 98 UIDVALIDITY 1)
        S: * LIST () "/" "Sent"
        """,
        connection,
    )

    assert isinstance(seen[0], FolderStatus)
    assert connection.selected is not None
    assert (connection.selected.exists, connection.selected.validity) == (5, 7)


def test_the_selected_folder_follows_what_the_server_says() -> None:
    connection = opened()
    talk(
        """
        S: * 3 EXPUNGE
        S: * VANISHED 8
        S: * 7 EXISTS
        S: * VANISHED (EARLIER) 1:3
        S: * OK [HIGHESTMODSEQ 120]
        """,
        connection,
    )

    assert connection.selected is not None
    assert (connection.selected.exists, connection.selected.highest_modseq) == (7, 120)
    assert not connection.selected.renumbered


@pytest.mark.parametrize(
    "line",
    [
        "* 6 EXPUNGE",
        "* 0 EXPUNGE",
        "* 6 FETCH (UID 9)",
        "* 0 FETCH (UID 9)",
        "* 4 EXISTS",
        "* VANISHED 1:4294967295",
    ],
)
def test_a_sequence_number_that_cannot_be_means_to_list_anew(line: str) -> None:
    connection = opened()
    talk(f"S: {line}", connection)

    assert connection.selected is not None
    assert connection.selected.renumbered
    assert connection.state is State.SELECTED


@pytest.mark.parametrize("code", ["UIDVALIDITY 0", "UIDVALIDITY x", "NOOP", "UIDVALIDITY"])
def test_a_missing_validity_is_unknown(code: str) -> None:
    connection = Connection()
    talk(
        f"""
        S: * PREAUTH ready
        C: P1 EXAMINE "INBOX"
        S: * OK [{code}]
        S: * OK [NOMODSEQ]
        S: P1 OK [READ-ONLY]
        """,
        connection,
        commands.select(b"INBOX", read_only=True),
    )

    assert connection.selected is not None
    assert (connection.selected.validity, connection.selected.highest_modseq) == (None, None)
    assert connection.selected.read_only


def test_a_select_that_fails_closes_the_old_folder() -> None:
    connection = opened()
    talk('C: P2 SELECT "Sent"\nS: P2 NO gone', connection, commands.select(b"Sent"))

    assert connection.selected is None
    assert connection.state is State.AUTHENTICATED
    with pytest.raises(LocalError):
        connection.send(commands.uid_fetch(ONE, ["FLAGS"]))


def test_what_comes_before_closed_belongs_to_the_old_folder() -> None:
    connection = opened()
    talk(
        """
        C: P2 SELECT "Sent"
        S: * 4 EXPUNGE
        S: * 4 EXISTS
        S: * OK [CLOSED]
        S: * 1 EXISTS
        S: P2 OK
        """,
        connection,
        commands.select(b"Sent"),
    )

    assert connection.selected is not None
    assert (connection.selected.exists, connection.selected.renumbered) == (1, False)


def test_capabilities_are_forgotten_at_login_unless_the_server_repeats_them() -> None:
    silent, talkative, early = Connection(), Connection(), Connection()
    talk(READY + 'C: P1 LOGIN "ann" "secret"\nS: P1 OK', silent, LOGIN)
    talk(READY + 'C: P1 LOGIN "ann" "secret"\nS: P1 OK [CAPABILITY MOVE] hi', talkative, LOGIN)
    talk(READY + 'C: P1 LOGIN "ann" "secret"\nS: * CAPABILITY MOVE\nS: P1 OK hi', early, LOGIN)

    assert silent.capabilities is None
    assert talkative.capabilities == early.capabilities == frozenset({"MOVE"})


def test_enabled_is_believed_without_the_word() -> None:
    silent, precise = Connection(), Connection()
    script = "S: * PREAUTH\nC: P1 ENABLE CONDSTORE UTF8=ACCEPT\n"
    command = commands.enable("CONDSTORE", "UTF8=ACCEPT")
    talk(script + "S: P1 OK", silent, command)
    talk(script + "S: * ENABLED CONDSTORE\nS: P1 OK", precise, command)

    assert silent.enabled == {"CONDSTORE", "UTF8=ACCEPT"}
    assert precise.enabled == {"CONDSTORE"}


def test_plain_text_behind_the_starttls_answer_is_an_injection() -> None:
    large = b"P1 OK\r\n* 1 FETCH (BODY[] {%d}\r\n" % (1 << 40)
    for injected in (b"P1 OK\r\n* CAPABILITY X\r\n", b"P1 OK\r\nP2 OK fake", b"P1 OK\r\n ", large):
        connection = Connection(require_tls=True)
        talk(READY + "C: P1 STARTTLS", connection, commands.starttls())
        connection.receive(injected)

        assert isinstance(connection.failure, Insecure)
        assert connection.state is State.ENDED


def test_plain_text_between_starttls_and_handshake_is_an_injection() -> None:
    connection = Connection(require_tls=True)
    talk(READY + "C: P1 STARTTLS\nS: P1 OK\nS: * OK x", connection, commands.starttls())

    assert isinstance(connection.failure, Insecure)


def test_what_was_said_before_tls_is_forgotten() -> None:
    connection = Connection(require_tls=True)
    talk(READY + "S: * ENABLED X\nC: P1 STARTTLS\nS: P1 OK", connection, commands.starttls())
    connection.tls_started()

    assert connection.capabilities is None
    assert connection.enabled == frozenset()
    assert connection.tls


def test_preauth_cannot_skip_tls() -> None:
    connection = Connection(require_tls=True)
    talk("S: * PREAUTH welcome", connection)

    assert isinstance(connection.failure, Insecure)
    with pytest.raises(LocalError):
        connection.send(LOGIN)


def test_no_secret_is_sent_before_tls_when_tls_is_required() -> None:
    connection = Connection(require_tls=True)
    talk(READY, connection)
    with pytest.raises(LocalError):
        connection.send(LOGIN)

    assert connection.outgoing() == b""


def test_the_first_bye_is_enough_for_logout() -> None:
    connection = Connection()
    seen = talk(READY + "C: P1 LOGOUT\nS: * BYE\nS: * BYE\nS: * BYE", connection, commands.logout())

    assert kinds(seen) == ["Status", "Status", "Completed"]
    assert connection.state is State.ENDED
    assert connection.failure is None


def test_a_bye_out_of_the_blue_ends_what_is_under_way() -> None:
    connection = opened()
    seen = talk("C: P2 NOOP\nS: * 6 EXISTS\nS: * BYE shutting down", connection, commands.noop())

    assert seen[0] == Exists(6)
    assert isinstance(connection.failure, Disconnected)
    assert connection.failure.said == "shutting down"


@pytest.mark.parametrize("line", ["P2 \\0\\0\\0", "\\0\\0P2 OK done", "P2", "P2 WHAT?", "P2 OK\\0"])
def test_an_unreadable_completion_fails_rather_than_hangs(line: str) -> None:
    connection = opened()
    talk(f"C: P2 NOOP\nS: {line}", connection, commands.noop())

    assert isinstance(connection.failure, Desynchronised)


def test_a_reply_to_an_unknown_tag_is_counted() -> None:
    connection = opened()
    seen = talk("C: P2 NOOP\nS: X9 OK who\nS: P1 OK again\nS: P2 OK", connection, commands.noop())

    assert kinds(seen) == ["Completed"]
    assert connection.strays == 2


@pytest.mark.parametrize("tag", ["P3", "P99999999999999999999"])
def test_a_reply_to_a_command_that_was_not_sent_ends_the_connection(tag: str) -> None:
    connection = opened()
    talk(f"C: P2 NOOP\nS: {tag} OK", connection, commands.noop())

    assert isinstance(connection.failure, Desynchronised)


def test_a_command_cannot_succeed_before_it_was_sent() -> None:
    connection = Connection()
    talk('S: * PREAUTH\nC: P1 APPEND "x" () {5}\nS: P1 OK', connection, commands.append(b"x", b"hello"))

    assert isinstance(connection.failure, Desynchronised)


def test_an_invitation_that_nobody_waits_for_is_counted() -> None:
    connection = opened()
    talk("S: + what?\nC: P2 NOOP\nS: +\nS: P2 OK", connection, commands.noop())

    assert connection.strays == 2
    assert connection.idle


def test_sasl_without_initial_response_answers_the_challenge_whatever_its_text() -> None:
    talk(
        READY
        + """
        C: P1 AUTHENTICATE PLAIN
        S: + VXNlciBOYW1lAA==
        C: AGFubgBzZWNyZXQ=
        S: P1 OK
        """,
        Connection(),
        auth.plain("ann", "secret", initial_response=False),
    )


def test_one_challenge_too_many_is_cancelled() -> None:
    connection = Connection()
    seen = talk(
        READY
        + """
        C: P1 AUTHENTICATE PLAIN AGFubgBzZWNyZXQ=
        S: + eyJzdGF0dXMiOiI0MDAifQ==
        C: *
        S: P1 NO refused
        """,
        connection,
        auth.plain("ann", "secret", initial_response=True),
    )

    assert isinstance(completed(seen)[0].failure, AuthRefused)
    assert connection.state is State.NOT_AUTHENTICATED


@pytest.mark.parametrize(
    "greeting", ["HTTP/1.1 400 Bad Request", "* 1 EXISTS", "+ hello", "220 smtp ESMTP", ""]
)
def test_what_does_not_greet_is_no_imap_server(greeting: str) -> None:
    connection = Connection()
    connection.receive(greeting.encode() + b"\r\n")

    assert isinstance(connection.failure, RemoteError)


def test_what_came_before_an_excess_is_given() -> None:
    connection = opened()
    seen = connection.receive(b"* 1 FETCH (UID 1)\r\n* 2 FETCH (BODY[] {99999999999}\r\n")

    assert kinds(seen) == ["Fetch"]
    assert isinstance(connection.failure, LimitExceeded)
    assert connection.receive(b"* 3 EXISTS\r\n") == []


def test_a_stream_that_ends_is_a_disconnection() -> None:
    connection = opened()
    connection.end()

    assert isinstance(connection.failure, Disconnected)


@pytest.mark.parametrize("last", [b"* BYE late\r\n", b"* 2 FETCH (BODY[] {9999}\r\n", b""])
def test_a_large_literal_that_never_ends_leaves_no_file_open(last: bytes) -> None:
    files: list[BytesIO] = []

    def spool(size: int) -> BytesIO:
        files.append(BytesIO(bytes(size)))
        return files[-1]

    connection = Connection(limits=Limits(literal=500, spool_over=10), open_spool=spool)
    connection.receive(b"* PREAUTH ready\r\n* 1 FETCH (BODY[1] {20}\r\n" + 20 * b"a" + b" BODY[2] {20}\r\n")
    connection.receive(5 * b"b" if not last else 20 * b"b" + b")\r\n" + last)
    connection.end()

    assert len(files) == 2
    assert all(file.closed for file in files)


def test_responses_come_in_the_order_of_the_wire() -> None:
    connection = opened()
    connection.send(commands.noop())
    seen = connection.receive(b"* 6 EXISTS\r\n* 6 FETCH (UID 9)\r\n* OK hi\r\nP2 OK\r\n")

    assert kinds(seen) == ["Exists", "Fetch", "Status", "Completed"]
    assert isinstance(seen[1], Fetch)
    assert isinstance(seen[2], Status)
