"""Each switch does what it says, and what is not switched on does not happen."""

import asyncio
import re
from base64 import b64encode
from contextlib import AbstractAsyncContextManager

import pytest
from lab.talk import Talk, signed_in, talk

from postroom.imap import commands
from postroom.imap.aio import connect
from postroom.imap.errors import RemoteError
from postroom.lab import FAULTS, LabMailbox, LabServer, UnknownFault, serve
from postroom.lab.certificate import Certificate, make_certificate
from postroom.lab.faults import Faults

BODY = "f UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])"


def broken(*faults: str, certificate: Certificate | None = None) -> AbstractAsyncContextManager[LabServer]:
    """A server with six mails in two folders."""
    return serve(messages=6, folder_count=2, faults=faults, certificate=certificate)


async def first_line(server: LabServer) -> str:
    async with talk(server) as client:
        return await client.hear()


async def end(server: LabServer, folder: str | None, command: str) -> str:
    """How a command ends, in a fresh session."""
    async with signed_in(server, folder) as client:
        return (await client.ask(command))[-1]


async def lines(server: LabServer, folder: str | None, command: str) -> str:
    async with signed_in(server, folder) as client:
        return "\n".join(await client.ask(command))


async def test_a_late_greeting_does_not_come() -> None:
    async with broken("greeting-late") as server, talk(server) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.hear()


async def test_a_greeting_with_bye_ends_the_connection() -> None:
    async with broken("greeting-bye") as server, talk(server) as client:
        await client.play("S: * BYE ...\nS:")


async def test_preauth_leaves_no_moment_for_starttls() -> None:
    async with broken("preauth") as server, talk(server) as client:
        await client.play("S: * PREAUTH ...\nC: a SELECT INBOX\nS: * FLAGS ...")


async def test_starttls_can_be_stripped(certificate: Certificate) -> None:
    async with broken("starttls-stripped", certificate=certificate) as server:
        assert "STARTTLS" not in await first_line(server)
        server.faults.switch_off("starttls-stripped")
        assert "STARTTLS" in await first_line(server)


async def test_plaintext_can_follow_the_answer_to_starttls(certificate: Certificate) -> None:
    async with broken("starttls-injection", certificate=certificate) as server, talk(server) as client:
        await client.play(
            """
            S: * OK ...
            C: a STARTTLS
            S: a OK go ahead
            S: * CAPABILITY ... INJECTED
            """
        )


async def test_idle_can_die() -> None:
    async with broken("idle-dies") as server, signed_in(server, "INBOX") as client:
        await client.play("C: a IDLE\nS: + idling")
        server.arrive()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.hear()


async def test_bye_can_come_while_idling() -> None:
    async with broken("bye-in-idle") as server, signed_in(server, "INBOX") as client:
        await client.play("C: a IDLE\nS: + idling\nS: * BYE ...\nS:")


async def test_bye_can_come_in_the_middle_of_a_fetch() -> None:
    async with broken("bye-in-fetch") as server:
        answer = await lines(server, "INBOX", "f UID FETCH 1:* (UID)")

    assert answer == "* 1 FETCH (UID 1)\n* BYE going down\n"


async def test_the_connection_can_be_cut_in_a_literal() -> None:
    async with broken("cut-in-literal") as server:
        answer = await lines(server, "INBOX", BODY)
        size = re.search(r"\{(\d+)\}", answer)
        again = await end(server, "INBOX", BODY)

    assert size
    assert len(answer) < int(size[1])
    assert again == "f OK done"


@pytest.mark.parametrize(
    ("fault", "command", "answer"),
    [
        ("select-fails", "f SELECT Sent", "f NO [SERVERBUG]"),
        ("inbox-refused", "f EXAMINE INBOX", "f NO [SERVERBUG]"),
        ("unsafe-login", "f SELECT INBOX", "f NO SELECT Unsafe Login"),
        ("authenticated-not-connected", "f SELECT INBOX", "f BAD User is authenticated but not connected."),
        ("vanishing-folder", "f SELECT Sent", "f NO [NONEXISTENT]"),
    ],
)
async def test_a_folder_may_not_open(fault: str, command: str, answer: str) -> None:
    async with broken(fault) as server:
        assert (await end(server, None, command)).startswith(answer)


@pytest.mark.parametrize(
    ("fault", "answer"),
    [
        ("backoff", "f NO Request is throttled. Suggested Backoff Time: 299961 milliseconds"),
        ("overquota", "f NO [OVERQUOTA]"),
        ("unavailable-uid", "f NO [UNAVAILABLE]"),
    ],
)
async def test_a_fetch_may_be_refused(fault: str, answer: str) -> None:
    async with broken(fault) as server:
        assert (await end(server, "INBOX", BODY)).startswith(answer)


async def test_the_connection_can_break_at_one_message_each_time() -> None:
    async with broken("breaks-on-message") as server:
        for _ in range(2):
            answer = await lines(server, "INBOX", "f UID FETCH 2:4 BODY.PEEK[]")

            assert "UID 2 " in answer
            assert "UID 3 " not in answer
            assert "f OK" not in answer


@pytest.mark.parametrize(
    ("fault", "missing", "present"),
    [
        ("no-flags-in-fetch", "FLAGS", "BODY[]"),
        ("body-missing", "BODY[]", "FLAGS"),
        ("empty-body", "MIME-Version", "BODY[] {0}"),
        ("date-absurd", 'INTERNALDATE " 4-Jan-2016', "2099"),
        ("unsolicited-status", "nothing of the kind", '* STATUS "Elsewhere"'),
    ],
)
async def test_a_fetch_answer_may_be_odd(fault: str, missing: str, present: str) -> None:
    async with broken(fault) as server:
        odd = await lines(server, "INBOX", BODY)
        server.faults.switch_off(fault)
        usual = await lines(server, "INBOX", BODY)

    assert missing not in odd
    assert present in odd
    assert odd != usual


async def test_sizes_may_lie() -> None:
    async with broken("size-lies") as server, signed_in(server, "INBOX") as client:
        await client.say("f UID FETCH 1 (RFC822.SIZE BODY.PEEK[])")
        told = re.search(r"RFC822.SIZE (\d+) BODY\[\] \{(\d+)\}", await client.hear())

    assert told
    assert told[1] != told[2]


@pytest.mark.parametrize(
    "fault",
    ["login-no", "logindisabled", "login-expired", "login-blocked", "login-refused-once", "login-busy"],
)
async def test_a_right_password_may_be_refused(fault: str) -> None:
    async with broken(fault) as server, talk(server) as client:
        await client.hear()
        assert "a NO" in (await client.ask(f'a LOGIN {server.address} "{server.password}"'))[-1]


async def test_a_right_password_may_be_refused_once() -> None:
    async with broken("login-refused-once") as server, talk(server) as client:
        await client.hear()
        login = f'LOGIN {server.address} "{server.password}"'
        assert "a NO" in (await client.ask(f"a {login}"))[-1]
        assert "b OK" in (await client.ask(f"b {login}"))[-1]


async def test_a_server_is_busy_in_other_words_each_time() -> None:
    async with broken("login-busy") as server, talk(server) as client:
        await client.hear()
        said = {(await client.ask(f'a LOGIN {server.address} "{server.password}"'))[-1] for _ in range(5)}

    assert len(said) == 5


async def test_an_alert_may_be_told_to_whoever_signs_in() -> None:
    async with broken("alert") as server, talk(server) as client:
        await client.hear()
        told = await client.ask(f'a LOGIN {server.address} "{server.password}"')

    assert told[0].startswith("* OK [ALERT] Your \x1b[31mmailbox")
    assert len(told[0]) > 10_000


async def test_the_handshake_after_starttls_may_break_off(certificate: Certificate) -> None:
    async with broken("starttls-breaks-off", certificate=certificate) as server, talk(server) as client:
        await client.hear()
        assert (await client.ask("a STARTTLS"))[-1] == "a OK go ahead"
        await client.say("hello")
        assert await client.hear() == ""


async def test_a_second_connection_may_be_one_too_many() -> None:
    async with broken("too-many-connections") as server:
        async with signed_in(server), talk(server) as other:
            await other.hear()
            refused = await other.ask(f'a LOGIN {server.address} "{server.password}"')
        assert refused[-1].startswith("a NO [ALERT] Too many simultaneous connections")


async def test_the_second_list_may_fail() -> None:
    async with broken("second-list-fails") as server, signed_in(server) as client:
        assert (await client.ask('a LIST "" *'))[-1] == "a OK done"
        assert (await client.ask('b LIST "" *'))[-1].startswith("b NO [SERVERBUG]")


async def test_the_first_list_may_be_empty() -> None:
    async with broken("list-empty") as server, signed_in(server) as client:
        assert await client.ask('a LIST "" *') == ["a OK done"]
        assert len(await client.ask('b LIST "" *')) == 3


def told(answer: str, code: str) -> int:
    found = re.search(rf"\[{code} (\d+)\]", answer)
    return int(found[1]) if found else 0


async def selections(client: Talk, times: int) -> list[str]:
    return ["\n".join(await client.ask("s SELECT INBOX")) for _ in range(times)]


@pytest.mark.parametrize(("fault", "different"), [("validity-changes", 2), ("validity-loops", 4)])
async def test_validities_may_change(fault: str, different: int) -> None:
    async with broken(fault) as server, signed_in(server) as client:
        validities = [told(answer, "UIDVALIDITY") for answer in await selections(client, 4)]

    assert len(set(validities)) == different


@pytest.mark.parametrize(
    ("fault", "code"), [("validity-missing", "UIDVALIDITY"), ("uidnext-missing", "UIDNEXT")]
)
async def test_numbers_may_be_missing(fault: str, code: str) -> None:
    async with broken(fault) as server:
        assert code not in await lines(server, None, "s SELECT INBOX")
        assert code not in await lines(server, None, f"s STATUS INBOX (MESSAGES {code})")


async def test_the_modification_sequence_may_go_down() -> None:
    lying = serve(messages=100, folder_count=1, faults=["modseq-decreases"])
    async with lying as server, signed_in(server) as client:
        first, second = (told(answer, "HIGHESTMODSEQ") for answer in await selections(client, 2))

    assert second < first


async def test_a_search_may_be_cut_off_and_its_form_ignored() -> None:
    async with serve(messages=30, folder_count=1, faults=["search-truncated", "esearch-ignored"]) as server:
        answer = await lines(server, "INBOX", "a UID SEARCH RETURN (ALL) ALL")

    assert answer.splitlines()[0] == "* SEARCH 21 22 23 24 25 26 27 28 29 30"


def test_faults_say_what_they_do_and_which_misbehaviour_they_play() -> None:
    assert all(name == fault.name and fault.does and fault.misbehaviour for name, fault in FAULTS.items())


def test_an_unknown_fault_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(UnknownFault, match="greeting-late"):
        Faults(["no-such-fault"])


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"))


async def test_starttls_may_be_offered_and_refused(certificate: Certificate) -> None:
    async with broken("starttls-no", certificate=certificate) as server, talk(server) as client:
        await client.play("S: * OK ... STARTTLS ...\nC: a STARTTLS\nS: a NO ...")


async def test_goodbye_may_be_said_again_and_again() -> None:
    async with broken("bye-repeated") as server, signed_in(server) as client:
        await client.play("C: a LOGOUT\nS: * BYE ...\nS: * BYE ...\nS: * BYE ...")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.hear()


async def test_the_connection_can_be_reset_in_a_literal() -> None:
    async with broken("reset-in-literal") as server, signed_in(server, "INBOX") as client:
        await client.say(BODY)
        with pytest.raises(ConnectionResetError):
            await client.reader.read(-1)


async def test_a_goodbye_can_be_a_reset() -> None:
    async with broken("reset-at-logout") as server, signed_in(server) as client:
        await client.say("a LOGOUT")
        with pytest.raises(ConnectionResetError):
            await client.reader.read(1)


async def test_the_server_can_fall_silent_in_a_literal() -> None:
    async with broken("stall-in-literal") as server, signed_in(server, "INBOX") as client:
        await client.say(BODY)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await client.reader.read(-1)


@pytest.mark.parametrize(
    ("fault", "folder", "command"),
    [
        ("select-drops", None, "a SELECT Sent"),
        ("namespace-drops", None, "a NAMESPACE"),
        ("reply-lost", "INBOX", "a UID MOVE 1 Sent"),
        ("reply-lost", "INBOX", "a UID COPY 1 Sent"),
        ("reply-lost", "INBOX", 'a APPEND Sent "hi"'),
        ("append-limit", "INBOX", "a APPEND Sent {100001+}"),
    ],
)
async def test_the_server_may_close_instead_of_answering(fault: str, folder: str, command: str) -> None:
    async with broken(fault) as server:
        assert (await end(server, folder, command)) in {"", "* BYE that is too long"}


async def test_the_server_may_close_behind_its_answer() -> None:
    async with broken("drops-after-select") as server, signed_in(server, "INBOX") as client:
        assert await client.hear() == ""


async def test_a_lost_reply_is_to_a_command_that_was_carried_out() -> None:
    async with broken("reply-lost") as server:
        await end(server, "INBOX", "a UID MOVE 1 Sent")

        assert (
            len(server.mailbox.folder("INBOX").messages),
            len(server.mailbox.folder("Sent").messages),
        ) == (
            2,
            4,
        )


async def test_a_reply_may_come_before_its_command() -> None:
    async with broken("reply-early") as server, signed_in(server) as client:
        await client.say("b7 NOOP")
        heard = [await client.hear() for _ in range(3)]

    assert "b8 OK done" in heard


async def test_what_is_offered_may_differ_after_the_login() -> None:
    async with broken("capability-differs") as server, talk(server) as client:
        assert "QRESYNC" in await client.hear()
        await client.ask(f'a LOGIN {server.address} "{server.password}"')
        assert "QRESYNC" not in (await client.ask("b CAPABILITY"))[0]
        assert (await client.ask("c ENABLE QRESYNC"))[-1].startswith("c BAD")


async def test_the_connections_of_an_account_may_be_counted() -> None:
    async with broken("login-unavailable") as server, signed_in(server), talk(server) as other:
        await other.hear()
        refused = await other.ask(f'a LOGIN {server.address} "{server.password}"')

    assert refused[-1].startswith("a NO [UNAVAILABLE]")


async def test_a_login_may_be_prompted_for_in_strange_words() -> None:
    async with broken("login-prompts") as server, talk(server) as client:
        user, password = (b64encode(word.encode()).decode() for word in (server.address, server.password))
        await client.play(
            f"""
            S: * OK ... LOGINDISABLED AUTH=LOGIN] ...
            C: a AUTHENTICATE LOGIN
            S: + VXNlciBOYW1lAA==
            C: {user}
            S: + UGFzc3dvcmQA
            C: {password}
            S: a OK ...
            """
        )


async def test_a_shared_mailbox_may_want_login() -> None:
    async with broken("shared-by-login") as server, talk(server) as client:
        name = "ann@lab.example\\team"
        server.accounts[name] = LabMailbox()
        plain = b64encode(f"\0{name}\0{server.password}".encode()).decode()
        quoted = name.replace("\\", "\\\\")
        await client.hear()
        assert (await client.ask(f"a AUTHENTICATE PLAIN {plain}"))[-1].startswith("a NO")
        assert (await client.ask(f'b LOGIN "{quoted}" "{server.password}"'))[-1].startswith("b OK")


async def test_a_folder_may_show_only_its_newest_messages() -> None:
    async with serve(messages=40, folder_count=1, faults=["newest-only"]) as server:
        assert "* 10 EXISTS" in await lines(server, None, "a SELECT INBOX")
        assert "MESSAGES 10" in await lines(server, None, "a STATUS INBOX (MESSAGES)")
        assert await lines(server, "INBOX", "a UID SEARCH ALL") == (
            "* SEARCH 31 32 33 34 35 36 37 38 39 40\na OK done"
        )


async def test_two_folders_may_swap_their_names() -> None:
    async with (
        serve(messages=12, folder_count=3, faults=["folders-swap"]) as server,
        signed_in(server) as client,
    ):
        await client.ask('a LIST "" *')
        before = {name: folder.validity for name, folder in server.mailbox.folders.items()}
        await client.ask('b LIST "" *')
        after = {name: folder.validity for name, folder in server.mailbox.folders.items()}

    assert after == before | {"Archive": before["Sent"], "Sent": before["Archive"]}


async def test_labels_may_change_without_a_sign() -> None:
    async with serve(messages=6, folder_count=3, offers=["gmail"]) as server:
        everything = server.mailbox.folder("[Gmail]/All Mail")
        server.faults.switch_on("labels-silent")
        before = everything.modseq
        server.mailbox.rename("Archive", "Attic")
        assert everything.modseq == before

        server.faults.switch_off("labels-silent")
        server.mailbox.rename("Attic", "Archive")
        assert everything.modseq > before


async def test_validities_may_change_everywhere_but_in_the_inbox() -> None:
    async with broken("validity-loops-elsewhere") as server, signed_in(server) as client:
        inbox = {told(answer, "UIDVALIDITY") for answer in await selections(client, 3)}
        sent = {told("\n".join(await client.ask("s SELECT Sent")), "UIDVALIDITY") for _ in range(3)}

    assert (len(inbox), len(sent)) == (1, 3)


async def test_a_new_validity_may_come_with_an_empty_folder() -> None:
    async with broken("validity-changes-empty") as server, signed_in(server) as client:
        answers = await selections(client, 3)

    assert [re.findall(r"(\d) EXISTS", answer) for answer in answers] == [["3"], ["0"], ["3"]]
    assert len({told(answer, "UIDVALIDITY") for answer in answers}) == 2


async def test_a_copy_may_be_told_of_too_late() -> None:
    async with broken("copyuid-misplaced") as server, signed_in(server, "INBOX") as client:
        assert (await client.ask("a UID COPY 1 Sent"))[-1] == "a OK copied"
        assert "[COPYUID " in (await client.ask('b APPEND Sent "hi"'))[-1]


@pytest.mark.parametrize(("fault", "difference"), [("literal-short", -5), ("literal-long", 5)])
async def test_a_literal_may_be_announced_wrongly(fault: str, difference: int) -> None:
    async with broken(fault) as server, signed_in(server, "INBOX") as client:
        await client.say("f UID FETCH 3 BODY.PEEK[]")
        announced = re.search(r"\{(\d+)\}", await client.hear())
        size = server.mailbox.folder("INBOX").messages[3].size

    assert announced
    assert int(announced[1]) == size + difference


async def test_a_literal_may_be_announced_as_larger_than_anything() -> None:
    async with broken("literal-huge") as server:
        assert "{4294967296}" in await lines(server, "INBOX", BODY)


async def test_a_line_may_have_no_end() -> None:
    async with broken("line-endless") as server, signed_in(server, "INBOX") as client:
        await client.say(BODY)
        with pytest.raises(ValueError, match="chunk"):
            await client.hear()


async def test_a_copy_may_get_another_message_id() -> None:
    async with broken("mail-id-rewritten") as server:
        await end(server, "INBOX", "a UID COPY 1 Sent")
        await end(server, "INBOX", "a UID MOVE 2 Sent")
        copied = [message.raw() for message in server.mailbox.folder("Sent").messages.values()][-2:]

    assert all(b"@gateway.example>" in raw for raw in copied)


@pytest.mark.parametrize(
    ("fault", "error"), [("compress-garbled", "cannot be read"), ("compress-bomb", "a line of more than")]
)
async def test_a_compressed_session_can_be_broken_on_purpose(fault: str, error: str) -> None:
    async with (
        serve(messages=6, folder_count=2, offers=["compress"], faults=[fault]) as server,
        connect(server.host, server.port) as session,
    ):
        await session.log_in(server.address, server.password)
        await session.run(commands.select(b"INBOX", read_only=True))
        await session.compress()
        with pytest.raises(RemoteError, match=error):
            await session.run(commands.uid_fetch("1:*", ["BODY.PEEK[]"]))
