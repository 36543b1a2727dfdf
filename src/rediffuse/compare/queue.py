"""Experiments through DVC's queue, one after the other, each in a folder of its own.

DVC's worker is a process apart: it runs whatever is queued, and goes on when the command that started it is gone. So
the queue must hold nothing but what this module put there, and an interrupt takes that back.
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rediffuse.compare.commands import dvc, git
from rediffuse.errors import UserError

_WAITING = ("Queued", "Running")
_STATES = (*_WAITING, "Success", "Failed")
# A look costs a second of one core, and a training that shares its cores with it slows down by more.
_POLL_SECONDS = 20.0
# A worker needs a few seconds to begin, and leaves ten seconds after the queue has run empty.
_START_SECONDS = 60.0
# DVC refuses to kill an experiment that it is still laying out.
_KILL_TRIES = 10


@dataclass(frozen=True)
class Status:
    """What `dvc queue status` shows.

    Args:
        tasks: name -> Queued, Running, Success or Failed.
        workers: so many, at work or idle.
    """

    tasks: dict[str, str]
    workers: int

    def waiting(self, names: Sequence[str]) -> list[str]:
        """Those of the names that are queued or running."""
        return [name for name in names if self.tasks.get(name) in _WAITING]


def parse_status(text: str) -> Status:
    """Read the output of `dvc queue status`.

    A name stands twice where a task of that name ended earlier: the one that is not at an end counts.
    """
    tasks: dict[str, str] = {}
    for line in text.splitlines():
        cells = re.split(r"\s{2,}", line.strip())
        if len(cells) == 4 and cells[3] in _STATES and tasks.get(cells[1]) not in _WAITING:
            tasks[cells[1]] = cells[3]
    found = re.search(r"Worker status: (\d+) active, (\d+) idle", text)
    return Status(tasks, int(found[1]) + int(found[2]) if found else 0)


def run_queued(root: Path, settings: Mapping[str, Sequence[str]], say: Callable[[str], None]) -> None:
    """Run experiments and wait for the last; earlier ones of these names on this commit are replaced.

    One that fails leaves no experiment behind, and the others go on.

    Args:
        root: the checkout.
        settings: name -> what its `dvc exp run -S` get, as key=value.
        say: is told what runs, a line at a time.

    Raises:
        UserError: the queue holds other tasks, which would run too; or DVC refuses a name or a setting.
    """
    before = status(root)
    others = before.waiting([name for name in before.tasks if name not in settings])
    running = [name for name in settings if before.tasks.get(name) == "Running"]
    if others or running:
        raise UserError(
            f"DVC's queue holds {', '.join(others + running)}, which would run in between; wait for it "
            "(`dvc queue status`), or take it out with `dvc queue kill NAME` or `dvc queue remove NAME`"
        )
    for name in settings:
        _forget(root, name, before)
    try:
        for name, values in settings.items():
            dvc(root, "exp", "run", "--queue", "--name", name, *(part for value in values for part in ("-S", value)))
        _wait(root, list(settings), say)
    except BaseException:
        _take_back(root, list(settings))
        raise


def status(root: Path) -> Status:
    """The queue as it stands."""
    return parse_status(dvc(root, "queue", "status"))


def _forget(root: Path, name: str, before: Status) -> None:
    """Remove a task and an experiment of this commit; DVC refuses a name that is taken."""
    if name in before.tasks:
        dvc(root, "queue", "remove", name)
    head = git(root, "rev-parse", "HEAD").decode().strip()
    if git(root, "for-each-ref", f"refs/exps/{head[:2]}/{head[2:]}/{name}"):
        dvc(root, "exp", "remove", name)


def _wait(root: Path, names: list[str], say: Callable[[str], None]) -> None:
    """Keep a worker at the queue until none of the names waits."""
    said: dict[str, str] = {}
    last_start: float | None = None
    while True:
        now = status(root)
        for position, name in enumerate(names, 1):
            state = now.tasks.get(name, "Queued")
            if state != said.setdefault(name, "Queued"):
                said[name] = state
                say(f"{name} ({position} of {len(names)}): {state.lower()}")
        waiting = now.waiting(names)
        if not waiting:
            return
        if not now.workers and (last_start is None or time.monotonic() - last_start > _START_SECONDS):
            lost = [name for name in waiting if now.tasks[name] == "Running"]
            if lost:
                raise UserError(f"DVC's worker ended while {', '.join(lost)} ran; type `dvc queue logs {lost[0]}`")
            dvc(root, "queue", "start", "--jobs", "1")
            last_start = time.monotonic()
        time.sleep(_POLL_SECONDS)


def _take_back(root: Path, names: list[str]) -> None:
    """Leave nothing queued and nothing running: first what waits, so that the worker finds nothing to go on with."""
    queued = [name for name in names if status(root).tasks.get(name) == "Queued"]
    with suppress(UserError):  # The first of them may have begun by now.
        if queued:
            dvc(root, "queue", "remove", *queued)
    dvc(root, "queue", "stop")
    for _ in range(_KILL_TRIES):
        running = [name for name in names if status(root).tasks.get(name) == "Running"]
        if not running:
            return
        with suppress(UserError):
            dvc(root, "queue", "kill", *running)
        time.sleep(1)
