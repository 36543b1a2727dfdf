"""Leaving well: a stage that is asked to go ends with exit code 75 within ten seconds, and the same command goes on.

SIGTERM, SIGINT, SIGUSR1 and SIGHUP ask; so does the death of the dvc process above, whose stage would else compute on
as an orphan beside the next `dvc repro`. SIGINT and SIGHUP that the process was started to ignore (nohup, a shell's
background) stay ignored. The first request counts, later ones change nothing.

The request is an exception in the main thread, at once or where `deferred` code looks for it. A thread keeps the time:
what has not ended `GRACE` seconds later is ended by it, whatever hangs, for files are written whole or not at all; the
exit code is 0 where the work itself was done by then. Only a C call that holds Python's lock for ever can keep it from
that.
"""

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from types import FrameType
from typing import Any

from rediffuse.errors import LeavingError
from rediffuse.leaving.ancestry import Process, dvc_above, lives, orphaned

GRACE = 8.0
"""Seconds from the first request to the end of the process."""

_ASKING = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
_MAY_BE_IGNORED = (signal.SIGINT, signal.SIGHUP)
_LOOK_EVERY = 0.5  # seconds between two looks at the dvc process above
_STOP = b"\0"  # no signal's number


@dataclass(frozen=True)
class Asked:
    """Whether the process was asked to leave; `deferred` gives it."""

    watch: "_Watch | None"

    @property
    def reason(self) -> str | None:
        """What asked ("interrupted by SIGTERM", "dvc has died"), or None."""
        return self.watch.reason if self.watch else None

    def check(self) -> None:
        """Leave, where the process was asked to.

        Raises:
            LeavingError: it was.
        """
        if self.watch:
            self.watch.check()


def watch_process(stage: str) -> None:
    """Watch from here to the end of the process, which is that of one stage; `watched` is then told of the work.

    Until the work begins there is nothing to lose, and a request ends the process right away.
    """
    global _current
    if _current is None:
        _current = _Watch(stage, GRACE)
        _current.start()


@contextlib.contextmanager
def watched(stage: str, *, grace: float = GRACE) -> Iterator[None]:
    """Raise `LeavingError` in the block when the process is asked to leave, at once or where `deferred` says.

    Args:
        stage: names the line that is printed when the grace is over.
        grace: seconds from the first request until the process is ended, where `watch_process` was not called.

    Outside the main thread, or inside another `watched`, it does nothing. A request that something caught and kept to
    itself is raised again at the end of the block, and in place of an error that came after it: a child has died of the
    same signal, say. What asks after the block is not heard.
    """
    global _current
    if threading.current_thread() is not threading.main_thread() or (_current and _current.working):
        yield
        return
    watch, own = _current or _Watch(stage, grace), _current is None
    if own:
        _current = watch
        watch.start()
    try:
        watch.begin()
        yield
        watch.end()
    except BaseException as error:
        watch.failed(error)
        raise
    finally:
        if own:
            watch.stop()
            _current = None


@contextlib.contextmanager
def deferred() -> Iterator[Asked]:
    """Only note a request that comes inside the block, which is to look for one where it can stop, and then `check()`.

    Raises:
        LeavingError: after the block, when one was noted. It may have done all it had to; but the user who pressed
            Ctrl-C would see DVC begin the next stage, and a DVC that has died would never list what was made.
    """
    watch = _current if threading.current_thread() is threading.main_thread() else None
    if watch is None:
        yield Asked(None)
        return
    watch.deferring += 1
    try:
        yield Asked(watch)
    finally:
        watch.deferring -= 1
    if not watch.deferring:
        watch.check()


def asked() -> Asked:
    """Whether the process was asked to leave, for code that is not to make it wait; requests are raised as before."""
    return Asked(_current)


def stay() -> None:
    """Only note requests from here to the end of `watched`: all is made, and the state to go on from may be removed.

    The process then ends as if it had not been asked; what still hangs when the grace is over costs no result either.

    Raises:
        LeavingError: the process was asked before.
    """
    if _current and threading.current_thread() is threading.main_thread():
        _current.stay()


def unwatch() -> None:
    """Watch no more, to the end of the process: it leaves when another one that it works for does."""
    global _current
    if _current:
        _current.stop()
        _current.reason = None
        _current = None


class _Watch:
    """The signal handlers of one process, and the thread that keeps the time."""

    def __init__(self, stage: str, grace: float) -> None:
        self.reason: str | None = None
        self.working = False
        self.deferring = 0
        self.code = LeavingError.exit_code  # what the thread ends the process with
        self._stage = stage
        self._grace = grace
        self._begun = self._staying = False
        self._raised = False
        self._before: dict[signal.Signals, Any] = {}
        self._main = self._reader = self._writer = self._woken_before = -1
        self._dvc: Process | None = None
        self._orphaned = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Install the handlers and start the thread."""
        _after_fork()
        self._main = threading.get_ident()
        self._dvc = dvc_above()
        self._orphaned = self._dvc is None and orphaned()
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        # Python runs handlers between two of its own instructions, which may be late; this pipe is written to at once.
        self._woken_before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in _ASKING:
            before = signal.getsignal(number)
            if number not in _MAY_BE_IGNORED or before is not signal.SIG_IGN:
                self._before[number] = before
                signal.signal(number, self._asked)
        self._thread = threading.Thread(target=self._keep_time, name="leaving", daemon=True)
        self._thread.start()

    def begin(self) -> None:
        """From here on a request raises."""
        self._begun = self.working = True

    def check(self) -> None:
        """Raise when asked, unless what is done now is to be finished."""
        if self.reason and not self._staying:
            raise self._leave()

    def stay(self) -> None:
        """From here on a request raises no more."""
        self.check()
        self._staying = True
        self.code = 0

    def end(self) -> None:
        """The work is done: raise a request that got lost, or hear none from here on."""
        self.check()
        self.working = False
        self.code = 0

    def failed(self, error: BaseException) -> None:
        """The work has ended with an error: raise the request instead, unless it is one that a stage may end with."""
        self.working = False
        if self.reason and not self._staying and not hasattr(error, "exit_code"):
            raise self._leave() from None
        self.code = getattr(error, "exit_code", 1)

    def stop(self) -> None:
        """Put everything back, once."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        for number, before in self._before.items():
            signal.signal(number, before)
        signal.set_wakeup_fd(self._woken_before)
        os.write(self._writer, _STOP)
        thread.join()
        os.close(self._reader)
        os.close(self._writer)

    def forget(self) -> None:
        """Put back what a forked child inherited; the pipe is still the parent's too, which would take it as asked."""
        signal.set_wakeup_fd(-1)
        for number, before in self._before.items():
            signal.signal(number, before)
        os.close(self._reader)
        os.close(self._writer)

    def _asked(self, number: int, _: FrameType | None) -> None:
        self.reason = self.reason or f"interrupted by {signal.Signals(number).name}"
        if not self._begun:
            self._end_process()
        if self.working and not (self._raised or self._staying or self.deferring):
            raise self._leave()

    def _leave(self) -> LeavingError:
        self._raised = True
        return LeavingError(f"{self.reason}; the same command goes on")

    def _keep_time(self) -> None:
        """End the process when the grace is over; meanwhile look after dvc."""
        end: float | None = None
        numbers = b""
        while True:
            if end is None and (self._orphaned or (self._dvc and not lives(self._dvc))):
                self.reason = self.reason or "dvc has died"
                # Nothing else reaches the main thread inside a system call.
                signal.pthread_kill(self._main, signal.SIGUSR1)
                numbers += bytes([signal.SIGUSR1])
            asked = [number for number in numbers if number in self._before]
            if end is None and asked:
                self.reason = self.reason or f"interrupted by {signal.Signals(asked[0]).name}"
                end = time.monotonic() + self._grace
            if end is not None and time.monotonic() >= end:
                self._end_process(f", and not done {self._grace:g} s later")
            numbers = self._wait(end)
            if _STOP[0] in numbers:
                return

    def _wait(self, end: float | None) -> bytes:
        """The numbers of the signals that came since the last call, when there are some or it is time to look again."""
        seconds = _LOOK_EVERY if self._dvc else None
        if end is not None:
            seconds = max(0.0, end - time.monotonic())
        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        found = poll.poll(None if seconds is None else seconds * 1000)
        return os.read(self._reader, 4096) if found else b""

    def _end_process(self, detail: str = "") -> None:
        if self.code == LeavingError.exit_code:
            said = f"{self.reason}{detail}; the same command goes on"
        else:
            said = f"{self.reason}, {'after an error' if self.code else 'and its work is done'}"
        _write_at_once(f"stage {self._stage}: {said}\n")
        os._exit(self.code)


def _write_at_once(line: str) -> None:
    """Write a line to stderr, unless that would have to wait: for a full pipe, or a terminal that Ctrl-S stopped."""
    # Not through sys.stderr, whose lock the main thread may hold. A closed one has no descriptor.
    with contextlib.suppress(OSError, ValueError):
        descriptor = sys.__stderr__.fileno() if sys.__stderr__ else 2
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        # A pipe that can be written to takes as much as this.
        if any(events & select.POLLOUT for _, events in poll.poll(0)):
            os.write(descriptor, line.encode()[: select.PIPE_BUF])


_current: _Watch | None = None


@cache
def _after_fork() -> None:
    os.register_at_fork(after_in_child=_forget)


def _forget() -> None:
    global _current
    if _current:
        _current.forget()
        _current = None
