"""Cases 8 and 51: any number of loaders gives the same bytes, and none of them outlives or confuses the training."""

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from rediffuse.data.arrays import ArrayWriter, StoredExamples
from rediffuse.errors import TryAgainError
from rediffuse.training.batches import Batches
from tests.faults.waiting import lives, until
from tests.training.test_training import run_fit, runtime_params, weights

CPU = torch.device("cpu")
COUNT = 37


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> StoredExamples:
    """Every second of the examples in a file."""
    path = tmp_path_factory.mktemp("stored") / "examples.npy"
    with ArrayWriter(path, (1, 4, 4)) as writer:
        writer.extend(np.random.default_rng(0).integers(0, 256, (2 * COUNT, 1, 4, 4), dtype=np.uint8))
    return StoredExamples(path, np.arange(1, 2 * COUNT, 2))


def batches(stored: StoredExamples, loaders: int, *, labelled: bool = True, from_file: bool = True) -> Batches:
    return Batches(
        stored[np.arange(COUNT)],
        np.arange(COUNT) % 3 if labelled else None,
        seed=0,
        batch_size=12,
        microbatch=4,
        device=CPU,
        loaders=loaders,
        stored=stored if from_file else None,
    )


def read(made: Batches, first: int, last: int, indices: tuple[int, ...]) -> list[tuple[bytes, bytes | None]]:
    """What a stream gives, to the last bit."""
    with made.stream(first, last, indices) as stream:
        return [
            (images.numpy().tobytes(), labels if labels is None else labels.numpy().tobytes())
            for images, labels in stream
        ]


def loaders_running() -> list[int]:
    return [child.pid for child in multiprocessing.active_children()]


@pytest.mark.parametrize(("loaders", "labelled", "from_file"), [(0, True, True), (1, False, False), (4, True, True)])
def test_any_number_of_loaders_gives_the_same_bytes_from_any_step_and_block(
    stored: StoredExamples, loaders: int, labelled: bool, from_file: bool
):
    made = batches(stored, loaders, labelled=labelled, from_file=from_file)
    plain = batches(stored, 0, labelled=labelled)
    expected = [plain.load(step, index) for step in range(5, 12) for index in (1, 2)]
    torch.manual_seed(1)
    before = torch.get_rng_state()
    got = read(made, 5, 12, (1, 2))
    assert got == [
        (images.numpy().tobytes(), labels if labels is None else labels.numpy().tobytes())
        for images, labels in expected
    ]
    assert torch.equal(torch.get_rng_state(), before)
    assert loaders_running() == []
    assert signal.getsignal(signal.SIGCHLD) in (signal.SIG_DFL, None)


def test_a_training_with_loaders_has_the_bytes_of_one_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pids = []
    begin = multiprocessing.context.ForkServerProcess.start

    def watched(process) -> None:
        begin(process)
        pids.append(process.pid)

    monkeypatch.setattr(multiprocessing.context.ForkServerProcess, "start", watched)
    made = {}
    for loaders in (0, 2):
        state, curves = run_fit(tmp_path / str(loaders), runtime=runtime_params(loaders=loaders))
        assert len(pids) == loaders
        made[loaders] = (weights(state), curves.rows)
    assert made[2] == made[0]
    assert loaders_running() == []


def test_nothing_is_left_to_read_after_the_last_step(stored: StoredExamples):
    assert read(batches(stored, 2), 3, 3, (0, 1, 2)) == []


def test_a_loader_leaves_signals_to_the_training_and_its_death_is_told_where_a_batch_is_waited_for(
    stored: StoredExamples,
):
    made = batches(stored, 1)
    with made.stream(0, 1000, (0,)) as stream:
        next(stream)
        (pid,) = loaders_running()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
            os.kill(pid, number)
        for _ in range(5):
            next(stream)
        os.kill(pid, signal.SIGKILL)
        # Not at once, wherever the training stands.
        assert until(lambda: not loaders_running(), 30)
        with pytest.raises(TryAgainError, match=r"^a loader was killed, .* fewer than runtime.loaders: 1 if"):
            for _ in stream:
                pass
    assert loaders_running() == []


def test_loaders_end_with_a_training_that_is_killed(stored: StoredExamples):
    program = f"""
import multiprocessing, time
import numpy as np, torch
from pathlib import Path
from rediffuse.data.arrays import StoredExamples
from rediffuse.training.batches import Batches
if __name__ == "__main__":
    stored = StoredExamples(Path({str(stored.path)!r}), np.arange({COUNT}))
    made = Batches(stored[np.arange({COUNT})], None, seed=0, batch_size=4, microbatch=4,
                   device=torch.device("cpu"), loaders=2, stored=stored)
    with made.stream(0, 1000, (0,)) as stream:
        next(stream)
        print(*(child.pid for child in multiprocessing.active_children()), flush=True)
        time.sleep(60)
"""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment
    ) as training:
        pids = [int(pid) for pid in training.stdout.readline().split()]
        assert len(pids) == 2
        training.kill()
    assert until(lambda: not any(map(lives, pids)), 30)
