"""Where the vault's keys come from: the setting POSTROOM_SECRET_KEY, or a file made at first start.

Both may hold several, the newest first: the setting separated by commas, the file one on each line. To
rotate, put a new one in front; when every credential has been sealed again, drop the old one. Of several
processes give the new one to all first, behind the old: who has not got the newest is refused (`check`).
"""

import base64
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from postroom.vault.model import BadKeyFile, Secret
from postroom.vault.seal import Key, Vault

FILE = "secret.key"
BYTES = 32


def load(data: Path, secret_key: Secret | None = None) -> Vault:
    """The vault of this installation. Without a setting, the file is made where there is none yet.

    Raises `WeakKey` or `BadKeyFile`. Two processes that start at once end up with the same key.
    """
    if secret_key is not None:
        parts = [part.strip() for part in secret_key.reveal().split(",")]
        return Vault([Key.derived(part.encode()) for part in parts if part] or [Key.derived(b"")])
    path = data / FILE
    try:
        if not path.exists():
            _create(path)
        return Vault(_read(path))
    except OSError as error:
        raise BadKeyFile(f"The key file {path} cannot be used: {error.strerror}.") from error


def _create(path: Path) -> None:
    """Make the file whole or not at all, and never in the place of another."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f"{FILE}.{secrets.token_hex(8)}")
    file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(file, "wb") as out:
            out.write(base64.urlsafe_b64encode(secrets.token_bytes(BYTES)) + b"\n")
            out.flush()
            os.fsync(out.fileno())
        with suppress(FileExistsError):  # somebody was faster: theirs it is
            os.link(fresh, path)
    finally:
        fresh.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _read(path: Path) -> list[Key]:
    with path.open("rb") as file:
        if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
            raise BadKeyFile(f"Others may read the key file {path}; run: chmod 600 {path}")
        lines = [line.strip() for line in file if line.strip()]
    try:
        keys = [base64.b64decode(line, altchars=b"-_", validate=True) for line in lines]
    except ValueError:
        keys = []
    if not keys or any(len(key) != BYTES for key in keys):
        raise BadKeyFile(f"{path} is not a key file of postroom; put the right one back.")
    return [Key.derived(key) for key in keys]
