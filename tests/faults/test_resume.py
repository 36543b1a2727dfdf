"""Cases 1, 3 and 10 in small: a training that leaves at any moment goes on to the same bytes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rediffuse import leaving
from rediffuse.errors import LeavingError
from rediffuse.training.checkpoint import CheckpointFolder
from tests.data.planted import contents
from tests.training.test_training import Recorder, run_fit, runtime_params, train_params, weights

PARAMS = train_params(steps=4, ema_start=1, snapshots=2, log_every=2, validate_every=3)
RUNTIME = runtime_params(checkpoint_every=3, preview_every=2)


def leave_at(patch: pytest.MonkeyPatch, moment: int) -> None:
    """Ask the next training to leave when it looks for the `moment`-th time, from 1."""
    looks = 0

    class Asked:
        def check(self) -> None:
            nonlocal looks
            looks += 1
            if looks == moment:
                raise LeavingError("interrupted by SIGTERM")

    @contextmanager
    def deferred() -> Iterator[Asked]:
        yield Asked()

    patch.setattr(leaving, "deferred", deferred)


def rows(log: Recorder) -> set[tuple[tuple[str, float], ...]]:
    return {tuple(sorted(row.items())) for row in log.curves}


def test_a_training_that_leaves_at_any_moment_goes_on_to_the_same_bytes(tmp_path: Path):
    log = Recorder()
    state, curves = run_fit(tmp_path / "whole", params=PARAMS, runtime=RUNTIME, log=log)
    snapshots = contents(CheckpointFolder(tmp_path / "whole").snapshots)
    assert len(snapshots) == 2
    moment = 0
    while True:
        moment += 1
        folder, told = tmp_path / str(moment), Recorder()
        with pytest.MonkeyPatch.context() as patch:
            leave_at(patch, moment)
            try:
                run_fit(folder, params=PARAMS, runtime=RUNTIME, log=told)
                break
            except LeavingError:
                pass
        resumed, again = run_fit(folder, params=PARAMS, runtime=RUNTIME, log=told)
        assert weights(resumed) == weights(state)
        assert again.rows == curves.rows
        assert contents(CheckpointFolder(folder).snapshots) == snapshots
        # Nothing that is due is left out by leaving, and no preview is drawn twice.
        assert told.images == log.images
        assert rows(told) == rows(log)
    # 4 steps of two microbatches, as many pauses, two previews, two validations of two models.
    assert moment == 4 * 3 + 2 + 2 * 2 + 1
