"""Case 51 for the processes that read batches ahead: each dies, fails and is left without holding the training up."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from rediffuse.data.arrays import ArrayWriter, StoredExamples
from rediffuse.data.canaries import canaries, planted
from rediffuse.data.dataset import Examples
from rediffuse.errors import TryAgainError, UserError
from rediffuse.training.batches import Order
from rediffuse.training.loading import Microbatch, Reader, reading_ahead

COUNT, BATCH = 512, 128
ORDER = Order(seed=0, count=COUNT, batch_size=BATCH, microbatch=BATCH)


@contextmanager
def stream(images: np.ndarray | StoredExamples) -> Iterator[Iterator[Microbatch]]:
    reader = Reader(images, None, ORDER)
    with reading_ahead(reader, range(1000), (0,), 2, lambda read: read, pinned=False) as read:
        yield read


@contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """End the test's process rather than wait for ever: no handler of a signal reaches a call that never ends."""
    timer = threading.Timer(seconds, lambda: os.kill(os.getpid(), signal.SIGKILL))
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@pytest.mark.parametrize("place", [0, 1])
def test_a_loader_killed_in_the_middle_of_a_batch_is_missed_at_once(place: int):
    # A batch is six times what a pipe of 64 KiB holds.
    images = np.random.default_rng(0).integers(0, 256, (COUNT, 3, 32, 32), dtype=np.uint8)
    with bounded(60), stream(images) as read:
        for step in range(3):
            np.testing.assert_array_equal(next(read).images, images[ORDER.rows(step, 0)])
        # Both have now begun to write their next batch.
        time.sleep(0.5)
        loaders = sorted(multiprocessing.active_children(), key=lambda child: child.pid)
        assert len(loaders) == 2
        loaders[place].kill()
        killed_at = time.monotonic()
        with pytest.raises(TryAgainError, match=r"^a loader was killed"):
            for _ in range(3):
                next(read)
        assert time.monotonic() - killed_at < 20
    assert multiprocessing.active_children() == []


def test_loaders_find_planted_canaries_as_well(tmp_path: Path):
    images = np.random.default_rng(0).integers(0, 256, (COUNT - 100, 1, 8, 8), dtype=np.uint8)
    with ArrayWriter(tmp_path / "examples.npy", (1, 8, 8)) as writer:
        writer.extend(images)
    split = Examples(
        images,
        np.zeros(len(images), np.int64),
        tuple(map(str, range(len(images)))),
        StoredExamples(tmp_path / "examples.npy", np.arange(len(images))),
    )
    salted = planted(split, canaries("planted", 10, seed=0, shape=(1, 8, 8), classes=0), 10)
    with bounded(60), stream(salted.stored) as read:
        for step in range(4):
            np.testing.assert_array_equal(next(read).images, salted.images[ORDER.rows(step, 0)])


def test_what_a_loader_could_not_read_is_raised_where_it_is_waited_for(tmp_path: Path):
    path = tmp_path / "examples.npy"
    with (
        bounded(60),
        pytest.raises(UserError, match=rf"^{path} is missing; run the stage clean first") as raised,
        stream(StoredExamples(path, np.arange(COUNT))) as read,
    ):
        next(read)
    assert "in map_examples" in raised.value.__notes__[0]


def test_loaders_in_a_read_that_does_not_end_are_left_at_once(tmp_path: Path):
    path = tmp_path / "examples.npy"
    os.mkfifo(path)
    writer = -1
    with bounded(60), stream(StoredExamples(path, np.arange(COUNT))):
        while writer < 0:
            # Can be opened once a loader has it open, which then waits for bytes that nobody writes.
            with suppress(OSError):
                writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        left_at = time.monotonic()
    assert time.monotonic() - left_at < 8
    os.close(writer)
    assert multiprocessing.active_children() == []
