"""Ray Data: processes of this machine, or of the cluster that RAY_ADDRESS names."""

import importlib
import logging
import os
import pickle
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from rediffuse.errors import TryAgainError, UserError

T = TypeVar("T")
R = TypeVar("R")

# Tasks and results are a few hundred bytes; Ray asks for at least 75 MiB, and by default for a third of the memory.
_STORE = 100 * 2**20

# A worker may die with its machine; one that dies for what it computes dies again.
_RETRIES = 2


class Ray:
    """An engine of `workers` tasks at a time; on a cluster, every machine has to see the workspace's files.

    Ray takes some 10 s to start, when first needed.

    Args:
        workers: at least 1.

    Raises:
        UserError: Ray is not installed.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._started = False
        try:
            self._ray: Any = importlib.import_module("ray")
            self._data: Any = importlib.import_module("ray.data")
        except ImportError:
            raise UserError(
                "params.yaml: runtime.engine is ray, but Ray Data is not installed; pip install 'rediffuse[ray]', "
                "or set it to local"
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._started:
            self._ray.shutdown()

    def map(self, function: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
        """See `Engine.map`; Ray runs ahead of who takes the results, which it keeps.

        Raises:
            UserError: RAY_ADDRESS names no cluster.
        """
        if not items:
            return
        self._start()
        # Pickled here, items and results of any type pass through Arrow's tables.
        tasks = [{"task": pickle.dumps((function, item))} for item in items]
        pool = self._data.TaskPoolStrategy(size=self._workers)
        with warnings.catch_warnings():
            # Ray 2.64 drops max_retries, without which a task that kills its worker is tried for ever; pyproject.toml
            # stays below it.
            warnings.simplefilter("ignore")
            outcomes = self._data.from_items(tasks, override_num_blocks=len(tasks)).map(
                _run, compute=pool, max_retries=_RETRIES
            )
        try:
            for row in outcomes.iter_rows():
                result, error = pickle.loads(row["outcome"])
                if error is not None:
                    raise error
                yield result
        except (self._ray.exceptions.WorkerCrashedError, self._ray.exceptions.OutOfMemoryError):
            raise TryAgainError(
                f"a worker of Ray was killed {1 + _RETRIES} times, perhaps for lack of memory; what is done is kept: "
                f"run it again, with fewer than runtime.workers: {self._workers} if it happens again"
            ) from None

    def _start(self) -> None:
        if self._started:
            return
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        # Without an address Ray would join whatever cluster somebody started on this machine.
        where = {} if "RAY_ADDRESS" in os.environ else _own_cluster(self._workers)
        # The code in use is this process's, not what is installed: DVC runs experiments in checkouts of their own.
        code = {"env_vars": {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}}
        asked = signal.getsignal(signal.SIGTERM)
        try:
            self._ray.init(**where, runtime_env=code, log_to_driver=False, logging_level=logging.ERROR)
        except ConnectionError as error:
            raise UserError(f"RAY_ADDRESS is {os.environ.get('RAY_ADDRESS')}: {error}") from None
        finally:
            # Ray puts its own in place, which ends the process with 15.
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, asked)
        self._started = True
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
        context = self._data.DataContext.get_current()
        context.enable_progress_bars = False
        context.execution_options.preserve_order = True


def _own_cluster(workers: int) -> dict[str, Any]:
    return {"address": "local", "num_cpus": workers, "object_store_memory": _STORE, "include_dashboard": False}


def _run(row: dict[str, bytes]) -> dict[str, bytes]:
    """Run one task, in a worker; an error is an outcome too, or Ray would wrap it in its own."""
    outcome: tuple[Any, Exception | None]
    try:
        function, item = pickle.loads(row["task"])
        outcome = (function(item), None)
    except Exception as error:
        error.add_note(traceback.format_exc())
        outcome = (None, error)
    return {"outcome": pickle.dumps(outcome)}
