"""The log on the command line: read, followed, sealed, verified, exported."""

import asyncio
import json
import mailbox
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from postroom.lab.mails import mail

from .conftest import Cli, slowly

ADDRESS = "box@files.invalid"
MAILS = 5


def forge(cli: Cli, statement: str) -> None:
    async def run() -> None:
        conn = await asyncpg.connect(cli.options["POSTROOM_DATABASE_URL"])
        await conn.execute(f"SET search_path = postroom; {statement}")
        await conn.close()

    asyncio.run(run())


def arrive(cli: Cli, tmp_path: Path, *numbers: int) -> None:
    box = mailbox.mbox(tmp_path / "box")
    for number in numbers:
        box.add(mail(3, number))
    box.close()
    assert cli("import", tmp_path / "box", "--as", ADDRESS).status == 0


def told(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


@pytest.fixture
def told_of(cli: Cli, tmp_path: Path) -> Cli:
    """An installation in which something has happened."""
    arrive(cli, tmp_path, *range(MAILS))
    return cli


def test_the_log_is_read_in_order_and_from_a_cursor(told_of: Cli) -> None:
    everything = told(told_of("events", "--json").out)
    first = told(told_of("events", "--account", ADDRESS, "--limit", "3", "--json").out)
    rest = told(told_of("events", "--after", first[-1]["cursor"], "--json").out)
    lines = told_of("events").out.splitlines()

    assert first + rest == everything
    assert all(ADDRESS in line for line in lines)
    assert sum("  mail.added  " in line for line in lines) == MAILS
    assert [event["seq"] for event in everything] == list(range(1, len(everything) + 1))
    assert sum(event["kind"] == "mail.added" for event in everything) == MAILS
    added = next(event for event in everything if event["kind"] == "mail.added")
    assert {"v", "message", "folder", "flags"} <= added["data"].keys()
    assert added.keys() == {"cursor", "account", "stream", "seq", "at", "kind", "data"}


def test_who_reads_a_log_that_lost_its_beginning_is_told_so(told_of: Cli) -> None:
    before = told(told_of("events", "--json").out)
    forge(
        told_of,
        "INSERT INTO events_removed SELECT tenant_id, stream, seq, position, hash, at FROM events_event "
        "WHERE seq = 2",
    )
    rest = told_of("events", "--json")
    lost = told_of("events", "--after", before[0]["cursor"])

    assert told(rest.out) == before[2:]
    assert "This is not the beginning" in rest.err
    assert (lost.status, "were removed" in lost.err) == (1, True)


@pytest.mark.slow
def test_a_follower_sees_what_comes_and_ends_with_ctrl_c(told_of: Cli, tmp_path: Path) -> None:
    with told_of.running("events", "--follow", "--json") as process:
        assert process.stdout is not None
        before = [json.loads(process.stdout.readline()) for _ in range(MAILS)]
        arrive(told_of, tmp_path, MAILS)
        kinds = [event["kind"] for event in before]
        while kinds.count("mail.added") <= MAILS:
            kinds.append(json.loads(process.stdout.readline())["kind"])
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)

    assert process.returncode == 130
    assert "Traceback" not in errors


@pytest.mark.slow
def test_only_what_comes_is_followed_up_to_a_limit(told_of: Cli, tmp_path: Path) -> None:
    end = told(told_of("events", "--json").out)[-1]
    with told_of.running("events", "--after", end["cursor"], "--follow", "--limit", "1", "--json") as process:
        arrive(told_of, tmp_path, MAILS)
        out, _ = process.communicate(timeout=60)

    [event] = told(out)
    assert (process.returncode, event["seq"]) == (0, end["seq"] + 1)
    assert told_of("events", "--after", "end").out == ""


@pytest.mark.slow
def test_a_reader_that_has_seen_enough_is_no_error(told_of: Cli, tmp_path: Path) -> None:
    with told_of.running("events", "--follow") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        arrive(told_of, tmp_path, MAILS)
        said = process.stderr.read()
        process.stdout = None  # it is closed; nothing is left to read

    assert "Traceback" not in said
    assert "[cli.bug]" not in said


@pytest.mark.slow
def test_a_log_is_verified_with_the_seal_that_was_kept(told_of: Cli, tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    sealed = told_of("events", "seal", "--out", kept)
    good = told_of("events", "verify", "--seal", kept)
    forge(
        told_of,
        """DELETE FROM events_event WHERE seq > 3; DELETE FROM events_seal;
           UPDATE events_head SET (seq, hash, position) =
                  (SELECT seq, hash, position FROM events_event WHERE seq = 3)""",
    )
    without = told_of("events", "verify", "--json")
    bad = told_of("events", "verify", "--seal", kept, "--json")
    for_people = told_of("events", "verify", "--seal", kept)

    assert (sealed.status, good.status) == (0, 0)
    assert "nothing is missing or altered" in good.out
    assert (without.status, without.json["faults"]) == (0, [])  # a tail that was cut shows only so
    assert bad.status == for_people.status == 1
    assert {(fault["code"], fault["seq"]) for fault in bad.json["faults"]} == {
        ("seal_missing", 1),
        ("missing", 4),
    }
    assert f"({ADDRESS})" in for_people.out


@pytest.mark.slow
def test_a_key_that_was_lost_is_named_once(told_of: Cli, tmp_path: Path) -> None:
    lost, new = ({"POSTROOM_SECRET_KEY": f"the {name} key of the tests"} for name in ("lost", "new"))
    forge(told_of, "DELETE FROM vault_check")
    kept = told_of("events", "seal", "--out", tmp_path / "kept.json", "--json", **lost).json
    forge(told_of, "DELETE FROM vault_check")
    refused = told_of("events", "seal", **new)
    named = told_of("events", "verify", **new)
    wrong = told_of("events", "seal", "--trust", "no key", **new)
    made = told_of("events", "seal", "--trust", kept["key"], "--json", **new)
    verified = told_of("events", "verify", "--seal", tmp_path / "kept.json", **new)

    assert (refused.status, named.status, wrong.status) == (1, 1, 2)
    assert kept["key"] in refused.err
    assert f"Seal 1, signed with {kept['key']}, is not ours" in named.out
    assert (made.json["number"], verified.status) == (2, 0)


def test_a_database_that_withholds_a_part_of_the_epoch_is_told_of(cli: Cli) -> None:
    before = cli("status")
    forge(cli, "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
    after = cli("status", "--json")

    assert "epoch" not in before.err
    assert "its system identifier, so the log's epoch" in after.err
    assert (before.status, after.status, after.json) == (0, 0, {"accounts": []})


@pytest.mark.slow
def test_an_altered_event_is_named(told_of: Cli) -> None:
    forge(told_of, "UPDATE events_event SET body = replace(body, 'v', 'w') WHERE seq = 2")
    done = told_of("events", "verify", "--account", ADDRESS)

    assert done.status == 1
    assert "Entry 2 of stream 1 was altered" in done.out


@pytest.mark.slow
def test_an_export_is_checked_without_us(told_of: Cli, tmp_path: Path) -> None:
    key = told_of("events", "seal", "--out", tmp_path / "seal", "--json").json["key"]
    done = told_of("events", "export", tmp_path / "log.jsonl", "--json").json
    checker = Path(__file__).parents[2] / "src" / "postroom" / "events" / "check.py"
    command = [sys.executable, "-I", checker, tmp_path / "log.jsonl", "--key", key]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done["entries"] > MAILS
    assert (checked.returncode, checked.stderr) == (0, "")
    assert f"{done['entries']} entries in 1 streams, sealed up to seal 1" in checked.stdout


@pytest.mark.parametrize("words", [("seal", "--out"), *slowly(("export",))])
def test_nothing_that_was_kept_is_overwritten(cli: Cli, tmp_path: Path, words: tuple[str, ...]) -> None:
    kept = tmp_path / "kept"
    kept.write_text("dear to me")
    done = cli("events", *words, kept, "--json")

    assert (done.status, done.json["error"]["code"]) == (1, "cli.file_exists")
    assert kept.read_text() == "dear to me"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".kept")] == []


@pytest.mark.parametrize(
    "case",
    [
        (("--after", "nonsense"), "events.bad_cursor"),
        *slowly(
            (("--account", "nobody@nowhere.example"), "accounts.not_found"),
            (("verify", "--seal", "none"), "cli.system"),
            (("verify", "--seal", __file__), "events.bad_seal"),
            (("export", "/there/is/nothing"), "cli.system"),
        ),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(cli: Cli, case: tuple[tuple[str, ...], str]) -> None:
    words, code = case
    done = cli("events", *words, "--json")

    assert (done.status, done.json["error"]["code"]) == (1, code)
    assert done.err.count("\n") == 1


def test_options_stand_behind_their_command(cli: Cli) -> None:
    assert cli("events", "--json", "verify").status == 2
