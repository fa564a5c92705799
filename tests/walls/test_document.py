"""Schemathesis asks the running application all that its document allows, and much that it does not."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from servers.live import on_a_port
from servers.web import leading
from walls.naming import NAMES
from walls.sides import sides

from postroom.api.app import create_app
from postroom.api.live import live
from postroom.db.listen import open_hints
from postroom.db.pool import Database
from postroom.net.egress import Egress
from postroom.people import keys
from postroom.providers.registry import Registry
from postroom.settings import Settings
from postroom.vault.seal import Vault

ROOT = Path(__file__).parents[2]
EXAMPLES = 1
SECONDS = int(os.environ.get("POSTROOM_PROBE_SECONDS", "0"))
"""Instead of so many examples of each operation: for so long, with other ones each time (`make probe`)."""
EVERYTHING = "examples,coverage,fuzzing"
REAL = 0.7
"""How often a parameter that names something has the name of something that is there."""

CONFIGURATION = """
hooks = "walls.strict"
request-timeout = 45.0
max-stream-events = 1
workers = 1
{effort}

[warnings]
display = []

[phases.coverage]
unexpected-methods = ["PUT", "TRACE"]

[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", 503]

[checks.EveryQuestionIsAnswered]
but = {unanswered}
"""
UNANSWERED = {
    "POST /v1/accounts": "there is no mail server",
    "POST /v1/accounts/estimate": "there is no mail server",
    "POST /v1/accounts/oauth/auth-url": "the installation has no client",
    "GET /v1/events/ws": "no WebSocket is spoken",
    "DELETE /v1/people/session": "a key is no session",
}
BRIEFLY = f"""
seed = 1
generation = {{ deterministic = true, database = "none", max-examples = {EXAMPLES} }}
"""
FOR_LONG = f"""
max-time = {SECONDS}
generation = {{ database = "none" }}
"""
LEFT_OUT = frozenset({"positive_data_acceptance"})
"""What fits the document may still make no sense: a cursor of another list, a key that has expired."""


def configured(shown: Mapping[str, str]) -> str:
    """What schemathesis is to do, as TOML; it knows some names of what is there."""
    effort = FOR_LONG if SECONDS else BRIEFLY
    text = [CONFIGURATION.format(effort=effort, unanswered=json.dumps(list(UNANSWERED)))]
    for number, (path, name, templates) in enumerate(NAMES):
        values = [template.format_map(shown) for template in templates if template != "{cursor}"]
        if values:
            where = "path" if f"{{{name}}}" in path else "header" if "-" in name else "query"
            bound = "/v1/" if path == "*" else path.rstrip("*")
            text += [
                f"[dictionaries.names{number}]\nvalues = {json.dumps(values)}",
                f"[[operations]]\ninclude-path-regex = {json.dumps(bound.replace('{', '[{]'))}",
                f'parameters."{where}.{name}" = {{ dictionary = "names{number}", probability = {REAL} }}',
            ]
    return "\n".join(text)


@dataclass(frozen=True, slots=True)
class Target:
    """An application on a port, to be asked."""

    url: str
    key: str
    shown: Mapping[str, str]
    folder: Path

    async def probe(
        self,
        *more: str,
        phases: str = EVERYTHING if SECONDS else "coverage,fuzzing",
        without: frozenset[str] = frozenset(),
    ) -> tuple[int, str]:
        """How schemathesis ended, `without` these checks, and what it said."""
        configuration = self.folder / "schemathesis.toml"
        configuration.write_text(configured(self.shown))
        asked = await asyncio.create_subprocess_exec(
            *(str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(configuration)),
            *("run", f"{self.url}/openapi.json", "--checks", "all", "--phases", phases),
            *("--exclude-checks", ",".join(LEFT_OUT | without), "--no-color", *more),
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT / "tests")))},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            said, _ = await asked.communicate()
        finally:
            if asked.returncode is None:
                asked.kill()
                await asked.wait()
        return asked.returncode or 0, said.decode()


@pytest.fixture
async def target(
    db: Database,
    vault: Vault,
    tenants: None,  # noqa: ARG001  # they must be there first
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Target]:
    """With everything that a tenant may have, and no way out: no host that a caller names exists."""
    annika, _ = await sides(db, vault)
    settings = Settings(rate_limit_per_minute=0)
    providers = Registry(Egress(private_allowed=False))
    async with open_hints(db) as hints, live(db, hints) as news:
        app = create_app(db, settings, vault, providers, news)
        async with on_a_port(app) as url:
            leading(monkeypatch, {})
            yield Target(url, annika.key, annika.shown, tmp_path)


@pytest.mark.slow
async def test_whoever_has_a_key_is_answered_as_the_document_says(target: Target, db: Database) -> None:
    code, said = await target.probe("--header", f"Authorization: Bearer {target.key}")

    assert code == 0, said
    assert await keys.find(db, target.key), "it has revoked its own key"


@pytest.mark.slow
async def test_a_stranger_is_answered_as_the_document_says(target: Target) -> None:
    phases = EVERYTHING if SECONDS else "fuzzing"
    code, said = await target.probe(phases=phases, without=frozenset({"EveryQuestionIsAnswered"}))

    assert code == 0, said
