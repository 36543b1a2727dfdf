import errno
import json
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from rediffuse.errors import TryAgainError, UserError
from rediffuse.params import Params, RuntimeParams
from rediffuse.stage import run_stage
from rediffuse.tracking import Untracked
from rediffuse.workspace import Workspace

CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of a stage that is not tracked."""
    text = (CHECKOUT / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(text.replace("tracking: true", "tracking: false"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return tmp_path


def test_a_stage_gets_the_params_and_the_workspace_of_the_working_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[Any] = []

    def clean(params: Params, workspace: Workspace) -> dict[str, Any]:
        seen.extend([params.prepare.source, workspace])
        return {}

    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "lasting"))
    run_stage(clean)
    assert seen == ["digits", Workspace(root=folder, home=tmp_path / "lasting")]


def test_a_live_stage_gets_the_run_as_well(folder: Path) -> None:
    seen: list[Any] = []

    def train(params: Params, workspace: Workspace, run: Any) -> dict[str, Any]:
        run.log_curve([{"step": 1, "loss": params.train.lr}])
        seen.append((workspace.root, run))
        return {}

    run_stage(train, live=True)
    assert [root for root, _ in seen] == [folder]
    assert isinstance(seen[0][1], Untracked)


def test_all_processes_use_the_runtime_of_the_first(folder: Path) -> None:
    seen: list[Any] = []

    class Other:
        first = False

        def broadcast(self, runtime: RuntimeParams) -> RuntimeParams:
            return runtime.model_copy(update={"checkpoint_every": 77, "reduction": "fast"})

    def train(params: Params, _: Workspace) -> dict[str, Any]:
        seen.append(params.runtime)
        return {}

    run_stage(train, joined=lambda module, runtime: nullcontext(Other()))
    assert [(used.checkpoint_every, used.reduction, used.progress) for used in seen] == [(77, "fast", False)]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UserError("data/raw is empty;\nput images there"), 2),
        (TryAgainError("data/raw is empty; put images there"), 75),
    ],
)
@pytest.mark.usefixtures("folder")
def test_an_expected_error_is_one_line_and_an_exit_code(
    capsys: pytest.CaptureFixture[str], error: Exception, code: int
) -> None:
    def prepare(*_: Any) -> dict[str, Any]:
        raise error

    with pytest.raises(SystemExit) as ended:
        run_stage(prepare)
    assert ended.value.code == code
    assert capsys.readouterr().err == "stage prepare: data/raw is empty; put images there\n"


def test_broken_params_are_the_users_mistake(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def clean(*_: Any) -> dict[str, Any]:
        raise AssertionError("the stage ran")

    (folder / "params.yaml").write_text("seed: 0\nseed: 1\n")
    with pytest.raises(SystemExit) as ended:
        run_stage(clean)
    assert ended.value.code == 2
    assert (
        capsys.readouterr().err == "stage clean: params.yaml: the key 'seed' stands twice, in lines 1 and 2; keep one\n"
    )


@pytest.mark.parametrize(
    ("number", "file", "code", "line"),
    [
        (errno.ENOSPC, None, 75, "No space left on device; make room, and the same command goes on"),
        (errno.EDQUOT, "/tmp/x", 75, "Disk quota exceeded (/tmp/x); make room, and the same command goes on"),
        (errno.EROFS, "plots/a", 2, "Read-only file system (plots/a); this user must be able to read and write there"),
        # These are no file of the user's.
        (errno.EACCES, "/etc/shadow", None, None),
        (errno.EACCES, None, None, None),
        (errno.ENOENT, "plots/a", None, None),
    ],
)
@pytest.mark.usefixtures("folder")
def test_a_disk_that_takes_no_more_is_one_line_wherever_a_stage_writes(
    capsys: pytest.CaptureFixture[str], number: int, file: str | None, code: int | None, line: str | None
) -> None:
    def sample(*_: Any) -> dict[str, Any]:
        raise OSError(number, os.strerror(number), file)

    with pytest.raises(OSError if code is None else SystemExit) as ended:
        run_stage(sample)
    if code is not None:
        assert ended.value.code == code
        assert capsys.readouterr().err == f"stage sample: {line}\n"


@pytest.mark.usefixtures("folder")
def test_a_bug_keeps_its_traceback() -> None:
    def clean(*_: Any) -> dict[str, Any]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_stage(clean)


def test_without_tracking_neither_mlflow_nor_torch_is_imported(folder: Path) -> None:
    program = """
import json, sys
from rediffuse.stage import run_stage

def clean(params, workspace):
    return {}

run_stage(clean)
print(json.dumps(sorted({"mlflow", "torch"} & sys.modules.keys())))
"""
    answer = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(CHECKOUT / "src")},
    )
    assert json.loads(answer.stdout) == []
    assert sorted(path.name for path in folder.iterdir()) == ["params.yaml"]
