"""Case 50: where memory runs out there is one line with the keys to lower, and nothing is lowered by itself."""

import errno
import re
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch

from rediffuse import files, memory, runtime
from rediffuse.diffusion import DenoisingLoss
from rediffuse.errors import UserError
from rediffuse.params import known_keys, load_params
from rediffuse.stage import run_stage
from stages.evaluate import evaluate
from stages.reference import reference
from stages.sample import sample
from stages.train import train
from tests.repository import Repository

REPOSITORY = Path(__file__).parents[2]


def raising(error: Exception) -> object:
    def fail(*_: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("step", "wanted"),
    [
        (lambda: torch.empty(2**50), r"4503599627370496 bytes"),
        (lambda: np.empty(2**57, np.uint8), r"128\. PiB"),
        (raising(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has")), r"20\.00 GiB"),
        (raising(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling")), None),
        (raising(RuntimeError("CUDA error: out of memory\nCompile with")), None),
        (raising(MemoryError()), None),
        (raising(OSError(errno.ENOMEM, "Cannot allocate memory")), None),
    ],
    ids=["torch", "numpy", "cuda", "cublas", "driver", "python", "system"],
)
def test_every_way_of_running_out_is_one_line_with_the_advice(step: object, wanted: str | None):
    amount = rf" \({wanted} more were asked for\)" if wanted else ""
    with pytest.raises(UserError, match=rf"^out of memory{amount}; use less$"), memory.advised("use less"):
        step()


@pytest.mark.parametrize(
    "error", [RuntimeError("shapes differ"), OSError(errno.ENOSPC, "No space left"), KeyError("a")]
)
def test_any_other_error_stays_what_it_is(error: Exception):
    with pytest.raises(type(error)) as caught, memory.advised("use less"):
        raise error
    assert caught.value is error


@pytest.mark.parametrize(
    ("stage", "key"),
    [
        (train, "train.microbatch"),
        (sample, "sample.batch_size"),
        (reference, "reference.batch_size"),
        (evaluate, "evaluate.manifold_points"),
    ],
)
def test_a_stage_names_its_own_keys_and_ends_with_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stage: object, key: str
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_bytes((REPOSITORY / "params.yaml").read_bytes())
    monkeypatch.setattr(runtime, "start", lambda _: torch.empty(2**50))
    with pytest.raises(SystemExit) as left:
        run_stage(stage, tracked=False, live=stage is train)
    assert left.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"stage {stage.__name__}: out of memory (")
    assert key in line
    named = re.findall(r"\b[a-z]+\.[a-z_.]*[a-z]\b", line)
    assert set(named) <= set(known_keys())
    assert load_params(REPOSITORY / "params.yaml") == load_params(tmp_path / "params.yaml")


def test_a_training_step_that_does_not_fit_keeps_the_checkpoints_before_it_and_the_parameters(
    trained: Repository, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    workspace = trained.workspace
    before = files.sha256(workspace.denoiser)
    trained.edit(**{"  checkpoint_every: 10 ": "  checkpoint_every: 1 ", "  progress: true": "  progress: false"})
    written = workspace.params.read_bytes()
    monkeypatch.chdir(trained.path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    workspace.denoiser.unlink()
    seen, loss = count(1), DenoisingLoss.__call__

    def fails_in_step_three(self, denoiser, *given):
        # Two microbatches a step.
        if denoiser.training and next(seen) == 2 * 2 + 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has")
        return loss(self, denoiser, *given)

    with monkeypatch.context() as patch, pytest.raises(SystemExit) as left:
        patch.setattr(DenoisingLoss, "__call__", fails_in_step_three)
        run_stage(train, tracked=False, live=True)
    assert left.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("stage train: out of memory (20.00 GiB more were asked for); use a smaller train.microbatch")
    assert next(seen) == 2 * 2 + 2 + 1
    kept = sorted(path.name[:13] for path in (workspace.state / "train").glob("*/step-*"))
    assert kept == ["step-00000001", "step-00000002"]
    assert not workspace.denoiser.exists()
    assert workspace.params.read_bytes() == written
    # On a machine with more memory it goes on; how often it saves is no part of it.
    trained.edit(**{"  checkpoint_every: 1 ": "  checkpoint_every: 1000 "})
    run_stage(train, tracked=False, live=True)
    assert files.sha256(workspace.denoiser) == before
