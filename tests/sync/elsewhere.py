"""`postroom` as if on a machine of its own: no process here can see that this one is gone."""

from uuid import uuid4

from postroom.cli.main import main
from postroom.db import process

MACHINE = str(uuid4())

if __name__ == "__main__":
    process._machine = lambda: MACHINE  # type: ignore[assignment]
    main()
