import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

from postroom.db.embedded import binaries


def package() -> Path:
    spec = find_spec(binaries.WHEEL)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def test_a_copy_runs_and_everybody_may_read_it(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        with ThreadPoolExecutor(3) as threads:  # as three commands at once would
            copies = set(threads.map(lambda _: binaries.copied(package(), tmp_path / "shared"), range(3)))
    finally:
        os.umask(before)

    (copy,) = copies
    assert os.listdir(tmp_path / "shared") == [copy.name]
    for program in ("postgres", "initdb"):
        path = copy / binaries.WHEEL / binaries.INSTALLED / "bin" / program
        version = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)
        assert f"(PostgreSQL) {binaries.MAJOR}" in version.stdout
    assert all(file.stat().st_mode & 0o444 == 0o444 for file in copy.rglob("*"))


def test_the_programs_are_found_without_running_the_wheels_own_code() -> None:
    assert (binaries.programs(None) / "postgres").is_file()
