"""A rerun that is asked to leave leaves nothing behind."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from rediffuse.verify.rerun import _copy_dep
from rediffuse.workspace import Workspace
from tests.repository import CHECKOUT, Repository

DAG = """stages:
  slow:
    cmd: python -c 'import os, time; open(os.environ["STARTED"], "w").write(str(os.getpid())); time.sleep(60)'
    outs: [model]
"""
LOCK = "schema: '2.0'\nstages:\n  slow:\n    cmd: none\n    outs: [{path: model, hash: md5, md5: aaaa, size: 1}]\n"


def test_a_copy_gets_the_files_that_git_ignores_in_a_folder_that_a_stage_reads(tmp_path: Path):
    here, there = Workspace.at(tmp_path / "clone"), Workspace.at(tmp_path / "copy")
    for workspace in (here, there):
        (workspace.root / "weights").mkdir(parents=True)
        (workspace.root / "weights" / "README.md").write_text(workspace.root.name)
    (here.root / "weights" / "net.pt2").write_bytes(b"weights")
    _copy_dep(here, there, "weights")
    assert (there.root / "weights" / "net.pt2").read_bytes() == b"weights"
    assert (there.root / "weights" / "README.md").read_text() == "copy"


@pytest.mark.parametrize("asks", [signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.slow)])
def test_a_signal_ends_what_was_started_and_removes_the_folder(tmp_path: Path, asks: signal.Signals):
    repository = Repository(tmp_path / "clone")
    (repository.path / ".dvc").mkdir(parents=True)
    (repository.path / ".dvc" / "config").write_text("[core]\n    analytics = false\n")
    (repository.path / "dvc.yaml").write_text(DAG)
    repository.workspace.lock.write_text(LOCK)
    shutil.copyfile(CHECKOUT / "params.yaml", repository.workspace.params)
    repository.run("git", "init", "-q")
    started, temporary = tmp_path / "started", tmp_path / "temporary"
    temporary.mkdir()

    verify = subprocess.Popen(
        [sys.executable, "-m", "rediffuse.verify"],
        cwd=repository.path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=repository.environment(PYTHONPATH=str(CHECKOUT / "src"), STARTED=str(started), TMPDIR=str(temporary)),
    )  # fmt: skip
    try:
        end = time.monotonic() + 60
        while not (started.exists() and started.read_text()) and verify.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        stage = int(started.read_text())
        os.kill(verify.pid, asks)
        said, _ = verify.communicate(timeout=60)
    finally:
        verify.kill()
    assert said.splitlines()[-1] == f"verify: interrupted by {asks.name}; nothing was compared"
    assert verify.returncode == 75
    assert not psutil.pid_exists(stage) or psutil.Process(stage).status() == psutil.STATUS_ZOMBIE
    assert list(temporary.glob("rediffuse*")) == []
