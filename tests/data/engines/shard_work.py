"""Functions for workers to run: a module's own, so that they can be pickled."""

import os
import signal
import time
from pathlib import Path

from rediffuse.errors import UserError


def square(number: int) -> int:
    return number * number


def refuse(number: int) -> int:
    if number == 3:
        raise UserError(f"item {number} can't be used")
    return number


def die(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def environment(_: int) -> tuple[int, str | None, bool]:
    """The process, its number of threads, and whether it leaves Ctrl-C alone."""
    return os.getpid(), os.environ.get("OMP_NUM_THREADS"), signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def write_begun(folder: Path, number: int) -> int:
    (folder / f"{number}").write_text(str(os.getpid()))
    return number


def write_begun_and_wait(folder: Path, number: int) -> int:
    write_begun(folder, number)
    time.sleep(60)
    return number


def write_number(calls: Path, number: int, folder: Path) -> None:
    """A result, and one byte more in a file that counts the calls for it."""
    with (calls / f"{number}").open("a") as file:
        file.write(".")
    (folder / "number").write_text(str(number))


def write_number_or_die(calls: Path, fatal: int, number: int, folder: Path) -> None:
    """Kills the whole process in the middle of one result."""
    write_number(calls, number, folder)
    if number == fatal:
        os.kill(os.getpid(), signal.SIGKILL)
