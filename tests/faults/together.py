"""What several processes compute together, for tests to compare.

The environment says what: TOGETHER is JSON {processes, folder, tasks, die}. Each task's digests are in the folder's
digests.json. With `die` they then end in a way that is none of these: see `main`.
"""

import hashlib
import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from rediffuse import files, joining, leaving
from rediffuse.errors import LeavingError, TryAgainError, UserError
from rediffuse.processes import Processes, current
from rediffuse.runtime import start
from rediffuse.sampling import Sampling, class_mix
from rediffuse.training.checkpoint import CheckpointFolder
from rediffuse.training.reduction import ExactSum, tree_sum
from tests.data.planted import contents
from tests.training.test_reduction import gradients
from tests.training.test_training import CPU, PARAMS, Recorder, model, run_fit, runtime_params, train_params, weights

# Twelve microbatches: their tree is ((8) + (4)), so that the sums of two processes, six and six, are other bits.
TRAIN = train_params(batch_size=12, microbatch=1, snapshots=3, log_every=5, validate_every=6)
RUNTIME = runtime_params(checkpoint_every=4, preview_every=6, device="cpu", threads=1)
SAMPLE = PARAMS.sample.model_copy(update={"steps": 3, "batch_size": 4})
COUNT = 18
START = """
import sys, types
# Another package may have a `tests` of its own installed.
sys.modules["tests"] = types.ModuleType("tests")
sys.modules["tests"].__path__ = ["tests"]
from tests.faults.together import main
if __name__ == "__main__":
    main()
"""
"""The module start_together, which `python -m` can run."""


class Mortal(Recorder):
    """A log that kills its process with the second checkpoint; the first process alone hears of checkpoints."""

    def log_timing(self, step: int, values) -> None:
        if step == 8:
            os.kill(os.getpid(), signal.SIGKILL)


def trained(folder: Path, **changes: object) -> dict[str, str]:
    """The digests of a training: weights, curves, snapshots and previews."""
    runtime = {key: changes.pop(key) for key in ("reduction", "checkpoint_every") if key in changes}
    log = Recorder()
    params, runtime = TRAIN.model_copy(update=changes), RUNTIME.model_copy(update=runtime)
    state, curves = run_fit(folder, params=params, runtime=runtime, log=log)
    if not current().first:
        return {}
    return {
        "weights": digest(weights(state)),
        "curves": digest(json.dumps(curves.rows, sort_keys=True).encode()),
        "snapshots": digest(repr(sorted(contents(CheckpointFolder(folder).snapshots).items())).encode()),
        "previews": digest(json.dumps(log.images).encode()),
    }


def sampled(me: Processes) -> dict[str, str]:
    """The digest of samples."""
    ours = model()
    with torch.no_grad():
        ours.denoiser.network.head[2].weight.normal_(generator=torch.Generator().manual_seed(0))
    sampling = Sampling.of(replace(ours), SAMPLE, CPU)
    labels = class_mix(COUNT, ours.classes, None)
    drawn = sampling.drawn(labels, me)
    if not me.first:
        assert drawn is None
        return {}
    images, evaluations = drawn
    assert len(images) == COUNT
    return {"samples": digest(images.tobytes()), "evaluations": str(evaluations)}


def summed(me: Processes) -> dict[str, str]:
    """The digest of sums over trees of several shapes."""
    sums = {}
    for leaves in (me.count, 2 * me.count, 3 * me.count, 5 * me.count):
        add = ExactSum(leaves, me)
        # What is kept from one step is no part of the next.
        add(lambda leaf: gradients(leaf + 1))
        given, expected = add(gradients), tree_sum((0, leaves), gradients)
        sums[str(leaves)] = str(all(torch.equal(a, b) for a, b in zip(given, expected, strict=True)))
    return sums


def leaving_at(look: int) -> Callable[[], AbstractContextManager["Asked"]]:
    """A `leaving.deferred` whose process is asked to leave when it looks for the time `look`."""
    return lambda: nullcontext(Asked(look))


@dataclass
class Asked:
    look: int

    @property
    def reason(self) -> str | None:
        self.look -= 1
        return "interrupted by SIGTERM" if self.look <= 0 else None

    def check(self) -> None:
        if self.look <= 0:
            raise LeavingError("interrupted by SIGTERM")


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def compute(me: Processes, folder: Path, tasks: dict[str, dict[str, object]]) -> dict[str, dict[str, str]]:
    """The digests of each task: the name of one is that of its folder, its value what to change in the training."""
    done = {}
    for name, changes in tasks.items():
        if name == "samples":
            done[name] = sampled(me)
        elif name == "sums":
            done[name] = summed(me)
        else:
            done[name] = trained(folder / name, **changes)
    return done


def main() -> None:
    told = json.loads(os.environ["TOGETHER"])
    folder, die = Path(told["folder"]), told.get("die")
    runtime = RUNTIME.model_copy(update={"processes": told["processes"]})
    try:
        with joining.joined("start_together", runtime) as me:
            start(runtime)
            done = compute(me, folder, told["tasks"])
            if me.first:
                files.write_json(folder / "digests.json", done)
            files.write_bytes(folder / f"pid-{me.rank}", str(os.getpid()).encode())
            if die == "first":
                log = Mortal() if me.first else Recorder()
                run_fit(
                    folder / "killed", params=TRAIN.model_copy(update=told.get("train", {})), runtime=RUNTIME, log=log
                )
            if die == "other":
                # Longer than any test waits.
                run_fit(folder / "long", params=TRAIN.model_copy(update={"steps": 10**6}), runtime=RUNTIME)
            if die == "leave":
                if me.first:
                    leaving.deferred = leaving_at(told["look"])
                run_fit(folder / "left", params=TRAIN.model_copy(update={"shard": True}), runtime=RUNTIME)
            if die == "unlike":
                me.check_alike({"seed": 0, "environment": {"torch": "2.9" if me.rank == 1 else "2.14"}})
    except (UserError, TryAgainError, LeavingError) as error:
        sys.stderr.write(f"stage together: {error}\n")
        sys.exit(error.exit_code)
