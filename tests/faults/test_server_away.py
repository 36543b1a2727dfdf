"""Cases 16, 17 and 54 through a real stage: with no tracking server it trains the same bytes, and tells no secret."""

import re
import shutil
import socket
from contextlib import closing

import pytest

from rediffuse import files
from rediffuse.stage import run_stage
from stages.train import train
from tests.data.planted import contents
from tests.repository import Repository

SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "plAnted-aws-4711",
    "MLFLOW_TRACKING_PASSWORD": "plAnted-password-4711",
    "HF_TOKEN": "plAnted-token-4711",
}


def outs(repository: Repository) -> dict[str, str]:
    """SHA-256 of all that the stage train writes."""
    workspace = repository.workspace
    tables = [workspace.plot("training"), workspace.plot("validation"), workspace.metrics("train")]
    paths = [workspace.denoiser, workspace.raw]
    paths += [*(workspace.snapshots / name for name in contents(workspace.snapshots)), *tables]
    return {str(path.relative_to(repository.path)): files.sha256(path) for path in paths}


def test_a_training_without_its_server_warns_once_writes_the_same_bytes_and_tells_no_secret(
    trained: Repository, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    before = outs(trained)
    assert len(before) > 6
    for name in before:
        (trained.path / name).unlink()
    shutil.rmtree(trained.workspace.state)
    # Bound and not listened to: whoever connects is refused.
    with closing(socket.socket()) as closed:
        closed.bind(("127.0.0.1", 0))
        uri = f"http://me:plAnted-uri-4711@127.0.0.1:{closed.getsockname()[1]}/?token=plAnted-query-4711"
        for name, value in {"MLFLOW_TRACKING_URI": uri, **SECRETS}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("DVC_ROOT", raising=False)
        monkeypatch.chdir(trained.path)
        run_stage(train, live=True)
    said = "".join(capfd.readouterr())
    warnings = [line for line in said.splitlines() if not line.startswith("train: ")]
    assert len(warnings) == 1
    assert re.fullmatch(r"warning: MLflow at .*Connection refused.* `make sync` brings it there", warnings[0]), said
    assert outs(trained) == before
    written = [
        path
        for folder in (".pipeline", "models", "plots", "metrics")
        for path in (trained.path / folder).rglob("*")
        if path.is_file()
    ]
    # What would tell is there: the journal with all that was said to MLflow.
    assert any(b"train/loss" in path.read_bytes() for path in written if "journal" in path.parts)
    assert "plAnted" not in said
    assert [path for path in written if b"plAnted" in path.read_bytes()] == []
