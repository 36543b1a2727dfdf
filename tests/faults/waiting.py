"""Wait for what another process does, and see whether it still runs."""

import time
from collections.abc import Callable

import psutil


def until(true: Callable[[], bool], seconds: float) -> bool:
    """Wait until it is true, at most so long; whether it is."""
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.02)
    return true()


def lives(pid: int) -> bool:
    """Whether it runs; one that only waits for its end to be read does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
