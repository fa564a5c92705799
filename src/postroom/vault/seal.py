"""Seals credentials for the database: AES-256-GCM, bound to tenant, row and field.

    v1.<key id>.<base64url of nonce (12 bytes), ciphertext, tag (16 bytes)>

The id says which key opens the text, so that keys can be changed one text at a time. Everything but the
ciphertext is authenticated too: the version, the key's id and the slot.
"""

import base64
import binascii
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from postroom.vault.model import Damaged, Slot, WeakKey, WrongKey
from postroom.vault.sign import Signer

VERSION = "v1"
NONCE = 12
TAG = 16
SHORTEST = 16


@dataclass(frozen=True, slots=True)
class Key:
    """A key and the id by which sealed texts name it. The id tells nothing about the key."""

    id: str
    secret: bytes = field(repr=False)
    signing: bytes = field(repr=False)

    @staticmethod
    def derived(material: bytes) -> "Key":
        """From any secret of at least 16 bytes. Raises `WeakKey`.

        HKDF spreads entropy, it does not add any: the secret should be random, not a person's password.
        """
        if len(material) < SHORTEST:
            raise WeakKey(f"The secret key is too short; give at least {SHORTEST} random characters.")
        name = _derive(material, b"postroom vault key id", 6)
        secret = _derive(material, b"postroom vault aes-256-gcm", 32)
        return Key(name.hex(), secret, _derive(material, b"postroom vault ed25519", 32))


class Vault:
    """Seals with the first of its keys, opens with any."""

    def __init__(self, keys: Sequence[Key]) -> None:
        if not keys:
            raise ValueError("a vault needs a key")
        self._newest = keys[0].id
        self._ciphers = {key.id: AESGCM(key.secret) for key in keys}
        self.signer = Signer(keys[0].signing)
        self.public_keys = [Signer(key.signing).public for key in keys]
        """What earlier signatures may have been made with, too; the newest first."""

    def seal(self, plaintext: bytes, slot: Slot) -> str:
        """A text for the database. The same plaintext gives another text each time."""
        nonce = os.urandom(NONCE)
        sealed = self._ciphers[self._newest].encrypt(nonce, plaintext, _bound(self._newest, slot))
        return f"{VERSION}.{self._newest}.{base64.urlsafe_b64encode(nonce + sealed).decode()}"

    def open(self, text: str, slot: Slot) -> bytes:
        """What was sealed in that slot. Raises `WrongKey` or `Damaged`; neither message holds the text."""
        match text.split("."):
            case [version, key, body] if version == VERSION:
                pass
            case _:
                raise _damaged(slot)
        if key not in self._ciphers:
            raise WrongKey(
                "A credential was sealed with a key that is missing; set POSTROOM_SECRET_KEY, or put the "
                "key file back, as it was.",
                key=key,
                field=slot.field,
            )
        try:
            data = base64.b64decode(body, altchars=b"-_", validate=True)
            if len(data) < NONCE + TAG or base64.urlsafe_b64encode(data).decode() != body:
                raise _damaged(slot)
            return self._ciphers[key].decrypt(data[:NONCE], data[NONCE:], _bound(key, slot))
        except (binascii.Error, ValueError, InvalidTag) as error:
            raise _damaged(slot) from error

    def is_current(self, text: str) -> bool:
        """Whether it is sealed with the newest key. One that is not is opened and sealed again."""
        return text.startswith(f"{VERSION}.{self._newest}.")


def _bound(key: str, slot: Slot) -> bytes:
    """What the seal vouches for beside the plaintext; no two slots give the same bytes."""
    row = f"{type(slot.row).__name__}:{slot.row}"
    parts = [VERSION.encode(), key.encode(), b"%d" % slot.tenant, row.encode(), slot.field.encode()]
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)


def _derive(material: bytes, purpose: bytes, length: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=b"postroom", info=purpose).derive(material)


def _damaged(slot: Slot) -> Damaged:
    return Damaged(
        "A stored credential is damaged or not where it belongs; connect the account again.", field=slot.field
    )
