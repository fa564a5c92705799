import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from postroom.ids import TenantId
from postroom.vault import keys
from postroom.vault.model import BadKeyFile, Secret, Slot, WeakKey

SLOT = Slot(TenantId(1), 7, "accounts_credential.password")


def test_a_key_file_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    data = tmp_path / "not" / "there"

    sealed = keys.load(data).seal(b"secret", SLOT)

    assert keys.load(data).open(sealed, SLOT) == b"secret"
    assert stat.S_IMODE((data / keys.FILE).stat().st_mode) == 0o600
    assert [file.name for file in data.iterdir()] == [keys.FILE]


def test_processes_that_start_at_once_get_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as threads:
        vaults = list(threads.map(lambda _: keys.load(tmp_path), range(16)))

    sealed = vaults[0].seal(b"secret", SLOT)
    assert {vault.open(sealed, SLOT) for vault in vaults} == {b"secret"}
    assert [file.name for file in tmp_path.iterdir()] == [keys.FILE]


def test_a_line_put_in_front_rotates_the_key_file(tmp_path: Path) -> None:
    sealed = keys.load(tmp_path).seal(b"secret", SLOT)
    file = tmp_path / keys.FILE
    other = keys.load(tmp_path / "other")
    file.write_bytes((tmp_path / "other" / keys.FILE).read_bytes() + file.read_bytes())

    rotated = keys.load(tmp_path)

    assert rotated.open(sealed, SLOT) == b"secret"
    assert other.open(rotated.seal(b"secret", SLOT), SLOT) == b"secret"


def test_the_setting_wins_over_the_file(tmp_path: Path) -> None:
    secret = Secret("a secret from the environment")

    sealed = keys.load(tmp_path, secret).seal(b"secret", SLOT)

    assert list(tmp_path.iterdir()) == []
    rotated = keys.load(tmp_path, Secret(f"one that is newer, {secret.reveal()}"))
    assert rotated.open(sealed, SLOT) == b"secret"
    assert not rotated.is_current(sealed)


@pytest.mark.parametrize("setting", ["", "hunter2", ","])
def test_a_weak_setting_is_refused(tmp_path: Path, setting: str) -> None:
    with pytest.raises(WeakKey):
        keys.load(tmp_path, Secret(setting))


@pytest.mark.parametrize("content", [b"", b"\n", b"short", b"%%%%", b"\xff\xfe", b"A" * 43])
def test_a_file_that_holds_no_key_is_left_alone(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / keys.FILE
    file.write_bytes(content)
    file.chmod(0o600)

    with pytest.raises(BadKeyFile, match="put the right one back"):
        keys.load(tmp_path)
    assert file.read_bytes() == content


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    keys.load(tmp_path)
    (tmp_path / keys.FILE).chmod(0o644)

    with pytest.raises(BadKeyFile, match="chmod 600"):
        keys.load(tmp_path)


def test_a_folder_in_the_way_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / keys.FILE).mkdir()

    with pytest.raises(BadKeyFile):
        keys.load(tmp_path)
