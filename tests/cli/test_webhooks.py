"""`postroom webhooks`."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
from servers.dovecot import free_port

from .conftest import Cli

RECEIVER = Path(__file__).parents[2] / "examples" / "receiver.py"


@contextmanager
def receiver(secret: str, port: int) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, str(RECEIVER), secret, str(port)], stdout=subprocess.DEVNULL)
    try:
        transport = httpx2.HTTPTransport(retries=50)  # it takes a moment to listen
        with httpx2.Client(transport=transport) as client:
            client.post(f"http://127.0.0.1:{port}/", content=b"")
        yield
    finally:
        process.kill()
        process.wait()


def test_a_webhook_is_made_tried_out_listed_and_replayed(cli: Cli) -> None:
    port = free_port()
    made = cli(
        *("webhooks", "add", f"http://127.0.0.1:{port}/", "--type", "mail.*", "--description", "desk"),
        "--json",
    ).json
    assert made["secret"].startswith("whsec_")
    refused = cli("webhooks", "test", made["id"])
    assert (refused.status, "[net.port_closed]" in refused.out) == (1, True)
    with receiver(made["secret"], port):
        tried = cli("webhooks", "test", made["id"][:20])
    assert (tried.status, tried.out) == (0, "It answers 204.\n")
    [listed] = cli("webhooks", "list", "--json").json["webhooks"]
    assert (listed["id"], listed["behind"], listed["state"]) == (made["id"], 0, "active")
    assert made["secret"] not in cli("webhooks", "list").out
    again = cli("webhooks", "replay", made["id"], "--after", "start")
    assert again.out == "0 events are gone through anew.\n"


def test_what_is_no_webhook_is_said_to_be_none(cli: Cli) -> None:
    done = cli("webhooks", "test", "0123", "--json")
    assert (done.status, done.json["error"]["code"]) == (1, "webhooks.not_found")
