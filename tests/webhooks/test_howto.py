"""What the page on receiving webhooks tells to copy works as it stands there."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from postroom.webhooks.sign import headers, new_secret

DOCS = Path(__file__).parents[2] / "docs"
PAGE, EXAMPLE = DOCS / "howto" / "receive-webhooks.md", DOCS.parent / "examples" / "receiver.py"
BODY = b'{"type": "mail.added"}'


def test_its_code_takes_what_is_signed_and_nothing_else() -> None:
    [code] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    is_genuine, secret, before = names["is_genuine"], new_secret(), new_secret()
    signed = headers([secret, before], "msg_1", datetime.now(UTC), BODY)

    assert is_genuine(secret, signed, BODY)
    assert is_genuine(before, signed, BODY)
    assert not is_genuine(new_secret(), signed, BODY)
    assert not is_genuine(secret, signed, BODY + b" ")
    assert not is_genuine(secret, signed | {"webhook-timestamp": "1"}, BODY)


def test_the_example_verifies_as_the_page_says() -> None:
    function = re.compile(r"    id, at = .*?\n    return any.*?\n", re.DOTALL)
    [on_the_page], [in_the_example] = (function.findall(file.read_text()) for file in (PAGE, EXAMPLE))

    assert on_the_page == in_the_example
