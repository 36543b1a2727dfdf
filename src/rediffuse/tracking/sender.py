"""The thread that brings a journal to MLflow while the stage computes: no step waits for a database or a server.

It is told nothing but that there is news: what to send stands in the journal, on disk, and not in memory.
"""

import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from rediffuse.leaving import asked
from rediffuse.tracking.delivery import Delivery, where
from rediffuse.tracking.journal import Journal, held, is_written, waiting
from rediffuse.tracking.store import reason
from rediffuse.workspace import Workspace

_QUICK = 2.0  # seconds in which a store that is there says no
_SECOND_TRY = 0.5  # seconds after the first failure
_LATER_TRIES = 30.0  # seconds between the others
_LAST_WORD = 2.0  # seconds at the end of a stage for a store that did not answer before
_LOOK_EVERY = 0.1  # seconds between two looks whether the process was asked to leave meanwhile
_REMEMBERED = 600.0  # seconds for which a stage believes the one before it that the store does not answer


class Sender:
    """Brings a journal to MLflow, after those that earlier stages of the same run left.

    Args:
        journal: of the running stage.
        workspace: whose store takes it.
        key: the content key of the run.
    """

    def __init__(self, journal: Journal, workspace: Workspace, key: str) -> None:
        self._workspace = workspace
        self._key = key
        self._delivery = Delivery(journal, workspace)
        self._news = threading.Event()
        self._closing = threading.Event()
        self._failures = 0
        self._left: str | None = None  # why something is kept although MLflow answers
        self._mark = workspace.journal / "unanswered"
        self._expected = not _younger(self._mark, _REMEMBERED)
        self._warned = threading.Lock()
        # A daemon: where MLflow hangs, the process still ends.
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """There is news in the journal."""
        self._news.set()

    def finish(self, seconds: float) -> None:
        """Wait until MLflow has all of it, and remove the journal; after so many seconds it stays, with a warning.

        A store that failed before, in this stage or in the one before it, is given two seconds; so is any from when
        the process is asked to leave.
        """
        self._closing.set()
        self._news.set()
        limit = seconds if self._expected else min(seconds, _LAST_WORD)
        end = time.monotonic() + limit
        hurried = False
        while self._thread.is_alive() and (left := end - time.monotonic()) > 0:
            self._thread.join(min(left, _LOOK_EVERY))
            if asked().reason and not hurried:
                hurried, limit = True, min(limit, _LAST_WORD)
                end = min(end, time.monotonic() + limit)
        if self._thread.is_alive():
            self._warn(f"no answer within {limit:g} s")

    def _work(self) -> None:
        tried_again = False
        while True:
            # In this order: news of an end that comes in between is either seen or left.
            self._news.clear()
            closing = self._closing.is_set()  # asked before the journal is read: then nothing is told after
            started = time.monotonic()
            try:
                self._deliver()
            except Exception as error:
                self._failures += 1
                # A store may be busy for a moment; a second try is for one that said so at once, and as a surprise.
                surprise = self._failures == 1 and self._expected and time.monotonic() - started < _QUICK
                self._expected = False
                if not surprise:
                    self._warn(str(error))
                    if self._closing.is_set():
                        self._delivery.journal.release()
                        return
                if self._failures == 1:
                    time.sleep(_SECOND_TRY)
                else:
                    self._closing.wait(_LATER_TRIES)
                continue
            self._failures, self._expected = 0, True
            with suppress(OSError):
                self._mark.unlink(missing_ok=True)
            if closing and self._left and not tried_again:
                tried_again = True
                time.sleep(_SECOND_TRY)
            elif closing:
                if self._delivery.late:
                    self._delivery.journal.release()
                else:
                    self._delivery.journal.remove()
                if self._left:
                    self._warn(self._left)
                return
            else:
                self._news.wait()

    def _deliver(self) -> None:
        self._left = None
        own = self._delivery.journal.folder
        for folder in waiting(self._workspace, self._key):
            if folder.name >= own.name:
                break
            try:
                # Another process brings it to MLflow: the end that it tells of must not come after what this one tells.
                while not self._deliver_earlier(folder) and folder.exists() and not is_written(folder):
                    time.sleep(_LOOK_EVERY)
            except OSError as error:
                self._left = reason(error)
        self._delivery.advance()
        self._left = self._delivery.late or self._left

    def _deliver_earlier(self, folder: Path) -> bool:
        """Bring an earlier stage's journal to MLflow; False where another process holds it."""
        with held(self._workspace, folder) as earlier:
            if not earlier:
                return False
            delivery = Delivery(earlier, self._workspace)
            delivery.advance()
            if delivery.late:
                self._left = delivery.late
            else:
                earlier.remove()
            return True

    def _warn(self, why: str) -> None:
        """Once a stage."""
        if self._warned.acquire(blocking=False):
            with suppress(OSError):
                self._mark.touch()
            sys.stderr.write(
                f"warning: MLflow at {where(self._workspace)} can't be told of this run ({why}); "
                "it is kept in .pipeline/journal, and `make sync` brings it there\n"
            )


def _younger(path: Path, seconds: float) -> bool:
    try:
        return time.time() - path.stat().st_mtime < seconds
    except OSError:
        return False
