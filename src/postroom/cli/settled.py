"""What a command has built when it begins to work stays; the garbage collector can leave it alone."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def settled() -> Iterator[None]:
    """What there is now is not looked through while the block runs.

    Now and then it would be, all of it: for 50 ms and more, while every request, stream and job waits.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
