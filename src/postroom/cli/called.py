"""How a person calls our commands in another terminal."""

import shlex
import shutil
import sys
from pathlib import Path

from postroom.settings import Settings, default_data


def called(settings: Settings) -> str:
    """How another terminal in this folder calls a command of this installation, which stands for `{}`."""
    return f"{_program()}{_where(settings)}"


def _program() -> str:
    here = Path(sys.argv[0])
    if here.name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m postroom.cli {{}}"
    if shutil.which("postroom") and Path(str(shutil.which("postroom"))).resolve() == here.resolve():
        return "postroom {}"
    shown = here.resolve()
    if shown.is_relative_to(Path.cwd()):
        shown = shown.relative_to(Path.cwd())
    return f"{shlex.quote(str(shown))} {{}}"


def _where(settings: Settings) -> str:
    """The options without which another terminal would find other data."""
    if settings.database_url is None and settings.data == default_data():
        return ""
    data = f" --data {shlex.quote(str(settings.data))}"
    return data + (" --database-url ..." if settings.database_url else "")
