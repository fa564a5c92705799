"""What is no id token is refused, whatever its shape."""

import base64
from datetime import UTC, datetime

import orjson
import pytest

from postroom.accounts.consent import SignInFailed
from postroom.accounts.identity import LONGEST, identity


def part(said: object) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(said)).decode().rstrip("=")


@pytest.mark.parametrize(
    "token",
    [
        "",
        "one",
        "one.***",
        f"one.{part('text')}.three",
        f"one.{part([1])}.three",
        f"one.{part({})}",
        f"one.{part({})}.three.four",
        f"one.{base64.urlsafe_b64encode(b'{').decode()}.three",
        f"one.{part({})}.{'x' * LONGEST}",
    ],
)
def test_what_is_no_token_is_garbled(token: str) -> None:
    with pytest.raises(SignInFailed, match="garbled"):
        identity(token, issuer="https://id.example", client_id="c", nonce="n", now=datetime.now(UTC))
