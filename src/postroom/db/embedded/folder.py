"""The data folder: is it ours, can we write it, and where in it is what."""

import os
from pathlib import Path

from postroom.db.model import NotOurFolder, NotWritable

MARKER = ".postroom"
MARK = "This folder belongs to postroom: its database, keys and logs.\n"
KEY = ".key"  # in the names of files that may be made before the database is


def claim(data: Path) -> Path:
    """Make the folder, or see that it is ours, and return where the server lives in it.

    Nothing above it is changed. Raises `NotOurFolder` or `NotWritable`.
    """
    data = data.expanduser().absolute()
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        names = {entry.name for entry in data.iterdir()}
        if MARKER not in names:
            foreign = any(KEY not in name for name in names)
            if foreign and not (data / MARKER).exists():  # else another process has just claimed it
                raise NotOurFolder(f"{data} holds other things; give postroom an empty folder (--data).")
            data.chmod(0o700)
            (data / MARKER).write_text(MARK)
        home = data / "postgres"
        home.mkdir(mode=0o700, exist_ok=True)
        owner = home.stat().st_uid
    except (FileExistsError, NotADirectoryError) as error:
        raise NotOurFolder(f"{error.filename} is no folder; give postroom an empty one (--data).") from error
    except OSError as error:
        raise NotWritable(f"The data folder {data} cannot be used: {error.strerror}.") from error
    if owner != os.geteuid():
        raise NotOurFolder(
            f"The database in {data} belongs to another user (number {owner}); run postroom as that user."
        )
    if not os.access(home, os.W_OK | os.X_OK):
        raise NotWritable(f"The data folder {home} is not writable.")
    return home
