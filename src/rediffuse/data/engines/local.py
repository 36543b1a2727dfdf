"""Processes of this machine."""

import multiprocessing
import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, Self, TypeVar

from rediffuse.errors import TryAgainError

T = TypeVar("T")
R = TypeVar("R")

# Each worker has one core. Arrow's pool of threads heeds OMP_NUM_THREADS, too.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class Local:
    """An engine of `workers` processes, started when first needed; with one worker, or for one item, this process.

    The processes are spawned: a fork of a process with threads (Arrow's, OpenBLAS') may hang. It costs 0.6 s a stage.
    They end with this process, however it ends, and leave Ctrl-C to it.

    Args:
        workers: at least 1.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._pool: _Pool | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop(at_once=kind is not None)

    def map(self, function: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
        """See `Engine.map`; at most two items a worker are in work."""
        if self._workers == 1 or len(items) <= 1:
            return (function(item) for item in items)
        return self._in_pool(function, items)

    def _in_pool(self, function: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
        self._pool = self._pool or _Pool.start(self._workers)
        rest = iter(items)
        waiting: deque[Future[R]] = deque()
        try:
            # Two for each worker: one in work, and one that it finds when it is done.
            waiting.extend(self._pool.submit(function, item) for item in islice(rest, 2 * self._workers))
            while waiting:
                result = waiting.popleft().result()
                waiting.extend(self._pool.submit(function, item) for item in islice(rest, 1))
                yield result
        except BrokenProcessPool as error:
            self._stop(at_once=True)
            if error.__cause__:
                # Not a death: something could not be unpickled, and the cause says what.
                raise
            raise TryAgainError(
                "a worker was killed, perhaps for lack of memory; what is done is kept: run it again, "
                f"with fewer than runtime.workers: {self._workers} if it happens again"
            ) from None
        except BaseException:
            self._stop(at_once=True)
            raise

    def _stop(self, *, at_once: bool) -> None:
        if self._pool:
            self._pool.stop(at_once=at_once)
            self._pool = None


@dataclass(frozen=True)
class _Pool:
    executor: ProcessPoolExecutor
    lifeline: Connection  # the end of a pipe that only this process holds: when it closes, the workers exit

    @classmethod
    def start(cls, workers: int) -> "_Pool":
        context = multiprocessing.get_context("spawn")
        reader, writer = context.Pipe(duplex=False)
        return cls(ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(reader,)), writer)

    def submit(self, function: Callable[[T], R], item: T) -> Future[R]:
        with _worker_environment():
            return self.executor.submit(_run, pickle.dumps((function, item)))

    def stop(self, *, at_once: bool) -> None:
        if at_once:
            self.lifeline.close()
        self.executor.shutdown(cancel_futures=True)
        self.lifeline.close()


def _run(task: bytes) -> Any:
    # Unpickled here, what can't be imported raises as any other error; the executor's own way kills the worker.
    function, item = pickle.loads(task)
    return function(item)


def _begin(lifeline: Connection) -> None:
    """Runs first in each worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def follow() -> None:
        wait([lifeline])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


@contextmanager
def _worker_environment() -> Iterator[None]:
    """What a process started in this block inherits: one thread for arithmetic, and no Ctrl-C while it is born."""
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    os.environ.update(_ONE_THREAD)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
