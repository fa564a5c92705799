"""Make the virtual environment that the Makefile works in, or say in one sentence what is missing."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path


def main(folder: Path) -> None:
    if sys.version_info < (3, 11):  # noqa: UP036  older ones do reach this line
        found = ".".join(map(str, sys.version_info[:2]))
        sys.exit(
            f"Postroom needs Python 3.11 or newer and this is {found}; "
            "name another one: make PYTHON=/path/to/python3.11 run"
        )
    if importlib.util.find_spec("ensurepip") is None or importlib.util.find_spec("venv") is None:
        sys.exit(
            "This Python lacks the venv module; install it "
            "(Debian, Ubuntu: sudo apt install python3-venv) and call make again."
        )
    made = subprocess.run([sys.executable, "-m", "venv", str(folder)], capture_output=True, text=True)
    if made.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        reason = (made.stdout + made.stderr).strip().splitlines()
        sys.exit(f"Could not make {folder}: {reason[-1] if reason else 'python -m venv failed'}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
