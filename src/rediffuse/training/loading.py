"""Processes that read the batches of a training ahead, in the order in which it asks for them.

A batch is a function of its step and microbatch alone, so that any number of loaders gives the same bytes: of N, each
reads every N-th one, and holds it until the training takes it. A fork server starts them (a fork of a process with
threads may hang, and to import torch in each of them takes seconds). They leave signals to the training, and end with
it, however it ends.

Torch's DataLoader is not used: all its workers write to one pipe, which the training holds open as well, so that the
death of one in the middle of a batch is never seen; its other way, /dev/shm, is 64 MB in many containers. Here each has
a pipe of its own, whose end is the loader's.
"""

import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from rediffuse.data.arrays import StoredExamples
from rediffuse.errors import TryAgainError

T = TypeVar("T")

_REAPED = 1.0
"""Seconds to wait for the end of a loader that was killed; in a read from a dead file server not even that ends it."""


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
        """A copy that a GPU can fetch by itself."""
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

    Raises:
        TryAgainError: from the iterator, when a loader was killed. What a loader could not read is raised as it is.
    """
    context = multiprocessing.get_context("forkserver")
    # Not this module: the server has not yet the search path of the training, which may be another checkout's.
    context.set_forkserver_preload(["torch"])
    count = len(steps) * len(indices)
    started: list[tuple[BaseProcess, Connection]] = []
    with ExitStack() as stack:
        watched, lifeline = context.Pipe(duplex=False)
        stack.enter_context(watched)
        stack.callback(_end, started)
        # Closed before that, so that one whose start was interrupted ends as well.
        stack.enter_context(lifeline)
        for number in range(min(loaders, count)):
            receiver, sender = context.Pipe(duplex=False)
            stack.enter_context(receiver)
            with sender:
                share = _Share(reader, steps, tuple(indices), range(number, count, loaders))
                loader = context.Process(target=_load, args=(share, sender, watched), daemon=True)
                loader.start()
            started.append((loader, receiver))
        yield _in_order(started, count, loaders, hand_over, pinned=pinned)


@dataclass(frozen=True)
class _Share:
    """What one loader reads: some of the microbatches of all steps, counted through."""

    reader: Reader
    steps: range
    indices: tuple[int, ...]
    positions: range

    def read(self, position: int) -> Microbatch:
        step, index = divmod(position, len(self.indices))
        return self.reader.read(self.steps[step], self.indices[index])


def _in_order(
    started: Sequence[tuple[BaseProcess, Connection]],
    count: int,
    loaders: int,
    hand_over: Callable[[Microbatch], T],
    *,
    pinned: bool,
) -> Iterator[T]:
    for position in range(count):
        loader, receiver = started[position % len(started)]
        try:
            read = receiver.recv()
        except (EOFError, OSError):
            loader.join(_REAPED)
            if loader.exitcode is not None and 0 < loader.exitcode < 255:
                # It has shown its traceback.
                raise RuntimeError(f"a loader ended with exit code {loader.exitcode}") from None
            raise TryAgainError(
                "a loader was killed, perhaps for lack of memory; the last checkpoint is kept: run it again, "
                f"with fewer than runtime.loaders: {loaders} if it happens again"
            ) from None
        if isinstance(read, Exception):
            raise read
        yield hand_over(read.pin_memory() if pinned else read)


def _end(started: Sequence[tuple[BaseProcess, Connection]]) -> None:
    for loader, _ in started:
        if loader.exitcode is None:
            loader.kill()
    for loader, _ in started:
        loader.join(_REAPED)


def _load(share: _Share, sender: Connection, lifeline: Connection) -> None:
    """What a loader does: send what it reads, or why it can't."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)

    def follow() -> None:
        wait([lifeline])
        os._exit(1)

    threading.Thread(target=follow, name="lifeline", daemon=True).start()
    # The training may have gone.
    with suppress(BrokenPipeError):
        try:
            for position in share.positions:
                sender.send(share.read(position))
        except BrokenPipeError:
            raise
        except Exception as error:
            sender.send(_portable(error))


def _portable(error: Exception) -> Exception:
    """What the training can raise in its place, with the traceback as a note."""
    error.add_note(f"In a loader:\n{''.join(traceback.format_exception(error))}")
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError("".join(traceback.format_exception(error)))
    return error
