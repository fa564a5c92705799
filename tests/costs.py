"""How long a piece of work takes, for the tests that say how that may grow."""

import gc
import time
from collections.abc import Callable


def seconds(work: Callable[[], object]) -> float:
    """Of this thread's processor time, and the best of three runs: other programs make one slow, seldom all.

    Without the collection of garbage, whose time is that of what all tests before have left in memory.
    """
    best = float("inf")
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            start = time.thread_time()
            work()
            best = min(best, time.thread_time() - start)
    finally:
        gc.enable()
    return best
