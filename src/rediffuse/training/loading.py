"""Processes that read the batches of a training ahead, in the order in which it asks for them.

A batch is a function of its step and microbatch alone, so that any number of loaders gives the same bytes. They are
torch's DataLoader workers, with four things settled: a fork server starts them (a fork of a process with threads may
hang, and to import torch in each of them takes seconds); what they read comes through a pipe, not through /dev/shm,
which is 64 MB in many containers; they leave signals to the training; and they end with it, however it ends.
"""

import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from rediffuse.data.arrays import StoredExamples
from rediffuse.errors import TryAgainError

T = TypeVar("T")


class Rows(Protocol):
    """Which rows come when; `batches.Order` is one."""

    def rows(self, step: int, index: int) -> np.ndarray:
        """The rows of microbatch `index` of step `step`."""
        ...


@dataclass(frozen=True)
class Microbatch:
    """What was read.

    Args:
        images: microbatch×C×H×W, uint8.
        labels: their classes; None for unlabelled data.
    """

    images: np.ndarray | Tensor
    labels: np.ndarray | Tensor | None

    def tensors(self) -> tuple[Tensor, Tensor | None]:
        """The same memory as tensors."""
        return torch.as_tensor(self.images), None if self.labels is None else torch.as_tensor(self.labels)

    def pin_memory(self) -> "Microbatch":
        """A copy that a GPU can fetch by itself; DataLoader's thread asks for it by this name."""
        images, labels = self.tensors()
        return Microbatch(images.pin_memory(), None if labels is None else labels.pin_memory())


@dataclass(frozen=True)
class Reader:
    """Reads any microbatch, in whichever process."""

    images: np.ndarray | StoredExamples
    labels: np.ndarray | None
    order: Rows

    def read(self, step: int, index: int) -> Microbatch:
        """Copies of a microbatch's images and labels."""
        rows = self.order.rows(step, index)
        return Microbatch(self.images[rows], None if self.labels is None else self.labels[rows])


@contextmanager
def reading_ahead(
    reader: Reader,
    steps: range,
    indices: Sequence[int],
    loaders: int,
    hand_over: Callable[[Microbatch], T],
    *,
    pinned: bool,
) -> Iterator[Iterator[T]]:
    """Every microbatch of the steps, in order, read by `loaders` processes that end with the block.

    Args:
        hand_over: called in this process on what was read.
        pinned: read into memory that a GPU can fetch from.
    """
    context = torch.multiprocessing.get_context("forkserver")
    # Not this module: the server has not yet the search path of the training, which may be another checkout's.
    context.set_forkserver_preload(["torch.utils.data"])
    reader_end, lifeline = context.Pipe(duplex=False)
    before = signal.getsignal(signal.SIGCHLD) if _in_main_thread() else None
    with warnings.catch_warnings():
        # More loaders than cores are the user's choice.
        warnings.filterwarnings("ignore", message="This DataLoader will create")
        iterator = iter(
            DataLoader(
                _Sequence(reader, steps, tuple(indices)),
                batch_size=None,
                num_workers=loaders,
                collate_fn=_as_it_is,
                worker_init_fn=partial(_begin, reader_end),
                multiprocessing_context=context,
                pin_memory=pinned,
                # Without one of its own, DataLoader draws from the global generator.
                generator=torch.Generator(),
            )
        )
    if _in_main_thread():
        # DataLoader would raise wherever the training is when a worker dies, even while it saves. Without its handler
        # the death is noticed where the next batch is waited for.
        signal.signal(signal.SIGCHLD, before or signal.SIG_DFL)
    try:
        yield _handed_over(iterator, hand_over, loaders)
    finally:
        # What __del__ would do, but now: a traceback may keep the iterator.
        iterator._shutdown_workers()  # type: ignore[attr-defined]
        lifeline.close()
        reader_end.close()


def _handed_over(iterator: Iterator[Microbatch], hand_over: Callable[[Microbatch], T], loaders: int) -> Iterator[T]:
    while True:
        try:
            read = next(iterator)
        except StopIteration:
            return
        except RuntimeError as error:
            if not str(error).startswith("DataLoader worker"):
                raise
            raise TryAgainError(
                "a loader was killed, perhaps for lack of memory; the last checkpoint is kept: run it again, "
                f"with fewer than runtime.loaders: {loaders} if it happens again"
            ) from None
        yield hand_over(read)


class _Sequence(Dataset[Microbatch]):
    """The microbatches of some steps as one sequence."""

    def __init__(self, reader: Reader, steps: range, indices: tuple[int, ...]) -> None:
        self.reader = reader
        self.steps = steps
        self.indices = indices

    def __len__(self) -> int:
        return len(self.steps) * len(self.indices)

    def __getitem__(self, position: int) -> Microbatch:
        step, index = divmod(position, len(self.indices))
        return self.reader.read(self.steps[step], self.indices[index])


def _as_it_is(read: Any) -> Any:
    return read


def _begin(lifeline: Connection, _: int) -> None:
    """Runs first in each loader."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)

    def follow() -> None:
        wait([lifeline])
        os._exit(1)

    threading.Thread(target=follow, name="lifeline", daemon=True).start()


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
