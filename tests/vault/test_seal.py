import base64
import copy
import pickle
import traceback

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postroom.ids import TenantId
from postroom.vault.model import Damaged, Secret, Slot, WeakKey, WrongKey
from postroom.vault.seal import Key, Vault

OLD = Key.derived(b"an old secret key, long enough")
NEW = Key.derived(b"a new secret key, just as long")
SLOT = Slot(TenantId(1), 7, "accounts_credential.password")
CANARY = "canary-5f2e"


@settings(max_examples=30)
@given(st.binary(max_size=300))
def test_what_was_sealed_opens(plaintext: bytes) -> None:
    vault = Vault([NEW])

    assert vault.open(vault.seal(plaintext, SLOT), SLOT) == plaintext


def test_equal_secrets_do_not_look_equal() -> None:
    vault = Vault([NEW])

    assert vault.seal(b"same", SLOT) != vault.seal(b"same", SLOT)


@pytest.mark.parametrize(
    "elsewhere",
    [
        Slot(TenantId(2), 7, SLOT.field),
        Slot(TenantId(1), 8, SLOT.field),
        Slot(TenantId(1), "7", SLOT.field),
        Slot(TenantId(1), 7, "accounts_credential.token"),
        Slot(TenantId(17), "", SLOT.field),
    ],
)
def test_a_text_moved_to_another_place_does_not_open(elsewhere: Slot) -> None:
    vault = Vault([NEW])

    with pytest.raises(Damaged):
        vault.open(vault.seal(b"secret", SLOT), elsewhere)


def test_any_changed_character_is_noticed() -> None:
    vault = Vault([NEW])
    text = vault.seal(b"secret", SLOT)

    for at, old in enumerate(text):
        for new in {"A", "B", ".", "é"} - {old}:
            with pytest.raises((Damaged, WrongKey)):
                vault.open(text[:at] + new + text[at + 1 :], SLOT)


@pytest.mark.parametrize(
    "text", ["", "v1", "v1.a.b.c", "plain password", f"v1.{NEW.id}.", f"v1.{NEW.id}.A===", "v2.x.y"]
)
def test_what_is_no_sealed_text_is_said_to_be_damaged(text: str) -> None:
    with pytest.raises(Damaged):
        Vault([NEW]).open(text, SLOT)


def test_a_cut_text_is_noticed() -> None:
    vault = Vault([NEW])
    text = vault.seal(b"secret", SLOT)

    for end in range(len(text)):
        with pytest.raises((Damaged, WrongKey)):
            vault.open(text[:end], SLOT)


def test_rotation_opens_the_old_and_seals_with_the_new() -> None:
    text = Vault([OLD]).seal(b"secret", SLOT)
    rotated = Vault([NEW, OLD])

    again = rotated.seal(rotated.open(text, SLOT), SLOT)

    assert not rotated.is_current(text)
    assert rotated.is_current(again)
    assert Vault([NEW]).open(again, SLOT) == b"secret"


def test_a_missing_key_is_told_apart_from_damage() -> None:
    with pytest.raises(WrongKey):
        Vault([NEW]).open(Vault([OLD]).seal(b"secret", SLOT), SLOT)


def test_a_short_key_is_refused() -> None:
    with pytest.raises(WeakKey):
        Key.derived(b"hunter2")


def test_the_sealed_text_and_its_errors_hold_nothing_of_the_secret() -> None:
    vault = Vault([NEW])
    text = vault.seal(CANARY.encode(), SLOT)

    with pytest.raises(Damaged) as damaged:
        vault.open(text[:-4] + "AAAA", SLOT)

    assert CANARY not in text
    assert CANARY.encode() not in base64.urlsafe_b64decode(text.split(".")[2])
    assert text not in "".join(traceback.format_exception(damaged.value))


def test_a_secret_shows_itself_nowhere() -> None:
    secret = Secret(CANARY)
    shown = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r:>40}",
        f"{secret} {secret!r}",
        repr([secret]),
    ]

    assert not any(CANARY in text for text in shown)
    assert repr(NEW).count(NEW.secret.hex()) == 0
    assert "secret=" not in repr(NEW)


def test_a_secret_cannot_leave_by_json_or_pickle() -> None:
    with pytest.raises(TypeError):
        orjson.dumps({"password": Secret(CANARY)})
    with pytest.raises(TypeError):
        pickle.dumps(Secret(CANARY))


def test_a_secret_is_still_a_value() -> None:
    assert Secret(CANARY) == Secret(CANARY)
    assert Secret(CANARY) != Secret("another")
    assert Secret(CANARY) != CANARY
    assert copy.deepcopy(Secret(CANARY)).reveal() == CANARY
    assert len({Secret(CANARY), Secret(CANARY)}) == 1
