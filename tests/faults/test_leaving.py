"""Cases 3 to 6, 46 and 51: stages asked to leave, by a signal or by a death around them, that go on where they were."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import torch

from rediffuse import files, yaml12
from rediffuse.errors import UserError
from rediffuse.workspace import Workspace
from stages.evaluate import evaluate
from stages.reference import reference
from stages.sample import sample
from stages.train import train
from tests.data.planted import params_with
from tests.repository import Repository

# Appended to a file that no stage depends on. Training tells its steps, and stops after number 25 until it is asked to
# leave or released; clean stops with its first result. While anything is written, the request is repeated.
HOLD = """
import os as _os, sys as _sys
from pathlib import Path as _Path

def _hold():
    import signal, time
    from rediffuse.leaving import deferred

    def fsync(descriptor):
        signal.raise_signal(signal.SIGTERM)
        written(descriptor)

    released = _Path(_os.environ["HOLD"] + "-released")
    with deferred() as asked:
        _Path(_os.environ["HOLD"]).touch()
        while not asked.reason:
            if released.exists():
                return
            time.sleep(0.01)
        written, _os.fsync = _os.fsync, fsync

if _sys.orig_argv[-1] == "stages.train":
    from rediffuse.training.ema import Averages

    def _following(self, denoiser, following=Averages.following):
        follow = following(self, denoiser)

        def _followed(step):
            follow(step)
            with open(_os.environ["STEPS"], "a") as file:
                file.write(f"{step}\\n")
            if "HOLD" in _os.environ and step == 25:
                _hold()

        return _followed

    Averages.following = _following

if _sys.orig_argv[-1] == "stages.clean":
    from rediffuse.data.engines.local import Local

    def _mapped(self, function, items, mapped=Local.map):
        for result in mapped(self, function, items):
            _hold()
            yield result

    Local.map = _mapped
"""

SLOW = pytest.mark.slow

# What DVC runs its commands with; it tells how they ended to whoever is still there.
SHELL = """#!/bin/sh
/bin/sh "$@"
code=$?
echo $code > "$CODE.tmp"
mv "$CODE.tmp" "$CODE"
exit $code
"""


@pytest.fixture
def held(trained: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    """A repository whose stages stop where `HOLD` says; those that still wait after a failed test are killed."""
    shell = tmp_path / "shell"
    shell.write_text(SHELL)
    shell.chmod(0o755)
    monkeypatch.setenv("SHELL", str(shell))
    monkeypatch.setenv("STEPS", str(tmp_path / "steps"))
    monkeypatch.setenv("CODE", str(tmp_path / "code"))
    with (trained.path / "src/rediffuse/stage.py").open("a") as file:
        file.write(HOLD)
    trained.edit(**{"  tracking: true": "  tracking: false"})
    yield trained
    for process in standing_in(trained):
        process.kill()


def within(seconds: float, condition: Callable[[], object], process: subprocess.Popen[str] | None = None) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process is None or process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.01)


def _after_cost(output: str) -> str:
    """What a training says after the line of what its network costs."""
    cost, rest = output.split("\n", 1)
    assert re.fullmatch(r"train: [\d,]+ parameters, .* in the forward pass of an example, plain", cost)
    return rest


def begun(repository: Repository, *command: str) -> subprocess.Popen[str]:
    """A command, in a process group of its own, whose stage now waits to be asked to leave."""
    hold = repository.path.parent / "hold"
    process = subprocess.Popen(
        command,
        cwd=repository.path,
        env=repository.environment(HOLD=str(hold)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # A shell's background ignores it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    within(100, hold.exists, process)
    hold.unlink()
    # Of the stages before.
    (repository.path.parent / "code").unlink(missing_ok=True)
    return process


def release(repository: Repository) -> None:
    """Let a command that waits go on."""
    (repository.path.parent / "hold-released").touch()


def alive(repository: Repository) -> list[list[str]]:
    """The command lines of all processes that stand in the repository."""
    found = []
    for process in standing_in(repository):
        with suppress(psutil.Error):
            found.append(process.cmdline())
    return found


def standing_in(repository: Repository) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if Path(process.cwd()).is_relative_to(repository.path):
                found.append(process)
    return found


def result(repository: Repository) -> dict[str, str]:
    """Digests of what a training writes."""
    names = ["plots/training.csv", "plots/validation.csv", "metrics/train.json"]
    names += ["models/denoiser.safetensors", "models/raw.safetensors"]
    return {name: files.md5(repository.path / name) for name in names}


def uninterrupted(repository: Repository) -> dict[str, str]:
    """What another training writes that is left alone; DVC has not seen it."""
    repository.edit(**{"  lr: 2.0e-3 ": "  lr: 1.0e-3 "})
    repository.run(sys.executable, "-m", "stages.train")
    (repository.path.parent / "steps").unlink()
    return result(repository)


def steps(repository: Repository) -> list[int]:
    return [int(line) for line in (repository.path.parent / "steps").read_text().split()]


@pytest.mark.parametrize("name", ["SIGTERM", *(pytest.param(name, marks=SLOW) for name in ("SIGINT", "SIGUSR1"))])
def test_a_training_that_is_asked_to_leave_saves_while_it_is_asked_again_and_goes_on_to_the_same_bytes(
    held: Repository, name: str
):
    whole = result(held)
    for made in whole:
        (held.path / made).unlink()
    process = begun(held, sys.executable, "-m", "stages.train")
    process.send_signal(getattr(signal, name))
    output, _ = process.communicate(timeout=10)
    assert (process.returncode, _after_cost(output)) == (
        75,
        f"stage train: interrupted by {name}; the same command goes on\n",
    )
    assert not [made for made in whole if (held.path / made).exists()]
    held.run(sys.executable, "-m", "stages.train")
    assert steps(held) == list(range(1, 41))
    assert result(held) == whole


@pytest.mark.slow
def test_a_training_whose_dvc_is_killed_leaves_and_the_next_repro_goes_on_to_the_same_bytes(held: Repository):
    whole = uninterrupted(held)
    dvc = begun(held, "dvc", "repro", "train")
    dvc.kill()
    within(10, (held.path.parent / "code").exists)
    assert (held.path.parent / "code").read_text() == "75\n"
    assert "stage train: dvc has died; the same command goes on\n" in dvc.communicate()[0]
    assert alive(held) == []
    held.run("dvc", "repro", "train")
    assert steps(held) == list(range(1, 41))
    assert result(held) == whole


@pytest.mark.slow
def test_a_killed_experiment_in_a_temporary_folder_goes_on_under_another_name(held: Repository):
    whole = uninterrupted(held)
    held.commit()
    head = held.run("git", "rev-parse", "HEAD")
    dvc = begun(held, "dvc", "exp", "run", "--temp", "-n", "first", "train")
    dvc.kill()
    within(10, (held.path.parent / "code").exists)
    assert (held.path.parent / "code").read_text() == "75\n"
    dvc.communicate()
    assert alive(held) == []
    held.run("dvc", "exp", "run", "--temp", "-n", "second", "train")
    assert steps(held) == list(range(1, 41))
    assert held.run("git", "rev-parse", "HEAD") == head
    held.run("dvc", "exp", "branch", "second", "second")
    lock = yaml12.parse(held.run("git", "show", "second:dvc.lock"), "dvc.lock")
    made = {out["path"]: out["md5"] for out in lock["stages"]["train"]["outs"]}
    assert made.items() >= whole.items()


@pytest.mark.parametrize("how", [pytest.param("SIGTERM", marks=pytest.mark.slow), "SIGKILL of dvc"])
def test_a_clean_that_leaves_takes_its_workers_along(held: Repository, how: str):
    held.edit(**{"  shard_rows: 2000 ": "  shard_rows: 300 "})
    held.run("dvc", "repro", "prepare")
    process = begun(held, *("dvc repro clean" if "dvc" in how else f"{sys.executable} -m stages.clean").split())
    workers = [command for command in alive(held) if any("spawn_main" in word for word in command)]
    assert len(workers) == 2
    code = held.path.parent / "code"
    if "dvc" in how:
        process.kill()
        within(10, code.exists)
        assert code.read_text() == "75\n"
        reason = "dvc has died"
    else:
        process.terminate()
        reason = "interrupted by SIGTERM"
    assert f"stage clean: {reason}; the same command goes on\n" in process.communicate(timeout=10)[0]
    assert process.returncode == (-signal.SIGKILL if "dvc" in how else 75)
    within(5, lambda: not alive(held))


@pytest.mark.slow
def test_two_processes_asked_together_leave_together_and_one_goes_on_to_the_same_bytes(held: Repository):
    whole = result(held)
    held.edit(**{"  processes: 1 ": "  processes: 2 "})
    process = begun(held, sys.executable, "-m", "stages.train")
    within(10, lambda: len(steps(held)) == 2 * 25)
    assert len(alive(held)) == 2
    os.killpg(process.pid, signal.SIGTERM)
    output, _ = process.communicate(timeout=10)
    assert (process.returncode, _after_cost(output)) == (
        75,
        "stage train: interrupted by SIGTERM; the same command goes on\n",
    )
    assert alive(held) == []
    held.edit(**{"  processes: 2 ": "  processes: 1 "})
    for made in whole:
        (held.path / made).unlink()
    held.run(sys.executable, "-m", "stages.train")
    assert steps(held)[50:] == list(range(26, 41))
    assert result(held) == whole


@pytest.mark.slow
def test_a_second_trainer_of_the_same_training_is_refused_and_the_first_ends_well(held: Repository):
    """Case 5: never two writers."""
    whole = result(held)
    for made in whole:
        (held.path / made).unlink()
    first = begun(held, sys.executable, "-m", "stages.train")
    output = held.run(sys.executable, "-m", "stages.train", code=75)
    (lock,) = (held.workspace.state / "train").glob("*/lock")
    assert _after_cost(output) == (
        f"stage train: another process is training this very run (it holds {lock}); wait for it or stop it\n"
    )
    assert not [made for made in whole if (held.path / made).exists()]
    release(held)
    assert _after_cost(first.communicate(timeout=60)[0]) == ""
    assert first.returncode == 0
    assert steps(held) == list(range(1, 41))
    assert result(held) == whole


@pytest.mark.slow
def test_a_training_whose_loader_is_killed_ends_to_be_tried_again_and_goes_on_to_the_same_bytes(held: Repository):
    """Case 51."""
    # More batches than fit into the pipe from the loader, so that it is at work when training is held.
    held.edit(**{"  steps: 40 ": "  steps: 200 "})
    whole = uninterrupted(held)
    for made in whole:
        (held.path / made).unlink()
    held.edit(**{"  loaders: 0 ": "  loaders: 1 "})
    process = begun(held, sys.executable, "-m", "stages.train")
    # The trainer's own children are multiprocessing's; its fork server's is the loader.
    (loader,) = [below for child in psutil.Process(process.pid).children() for below in child.children()]
    loader.kill()
    within(10, lambda: not loader.is_running() or loader.status() == psutil.STATUS_ZOMBIE)
    release(held)
    output, _ = process.communicate(timeout=60)
    assert (process.returncode, _after_cost(output)) == (
        75,
        "stage train: a loader was killed, perhaps for lack of memory; the last checkpoint is kept: run it again, with "
        "fewer than runtime.loaders: 1 if it happens again\n",
    )
    within(5, lambda: not alive(held))
    # Read ahead, some more batches were there.
    last = steps(held)[-1]
    assert 25 <= last < 200
    assert not [made for made in whole if (held.path / made).exists()]
    held.run(sys.executable, "-m", "stages.train")
    # What ends a training by an error saves no state; the checkpoints are of every tenth step.
    assert steps(held) == [*range(1, last + 1), *range(last // 10 * 10 + 1, 201)]
    assert result(held) == whole


@pytest.mark.parametrize("stage", [reference, train, sample, evaluate], ids=lambda stage: stage.__name__)
def test_cuda_without_a_gpu_is_told_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: Callable[..., object]
):
    """Case 46: in an empty folder, where whatever a stage reads is missing."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: pytest.fail("torch is set up"))
    with pytest.raises(UserError, match=r"^params\.yaml: runtime\.device is cuda, but torch finds no CUDA device; use"):
        stage(params_with(runtime__device="cuda"), Workspace.at(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_cuda_without_a_gpu_ends_the_first_stage_with_one_line_and_nothing_written(trained: Repository):
    trained.edit(**{"  device: auto ": "  device: cuda "})
    trained.workspace.checked.unlink()
    output = trained.run(sys.executable, "-m", "stages.check", code=2, CUDA_VISIBLE_DEVICES="")
    line = "stage check: params.yaml: runtime.device is cuda, but torch finds no CUDA device; use cpu or auto\n"
    assert output == line
    assert not trained.workspace.checked.exists()
