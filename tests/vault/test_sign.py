"""What is signed can be checked by somebody who has no secret of ours."""

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from postroom.vault.seal import Key, Vault

OLD, NEW = Key.derived(b"an old key of the vault"), Key.derived(b"a new key of the vault")


def test_a_signature_is_checked_with_the_public_key() -> None:
    signer = Vault([NEW]).signer
    public = Ed25519PublicKey.from_public_bytes(signer.public)
    signature = signer.sign(b"what was")

    public.verify(signature, b"what was")
    with pytest.raises(InvalidSignature):
        public.verify(signature, b"what was not")


def test_the_newest_key_signs_and_older_ones_stay_known() -> None:
    vault = Vault([NEW, OLD])

    assert vault.signer.public == Vault([NEW]).signer.public
    assert vault.public_keys == [Vault([key]).signer.public for key in (NEW, OLD)]


def test_keys_for_signing_and_for_sealing_are_unrelated() -> None:
    assert len({NEW.secret, NEW.signing, OLD.signing, bytes.fromhex(NEW.id.ljust(64, "0"))}) == 4
    assert NEW.signing.hex() not in repr(NEW)
