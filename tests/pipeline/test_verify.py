"""`python -m rediffuse.verify`: a rerun, another clone and an MLflow run beside what dvc.lock lists."""

import re
from pathlib import Path

import pytest

from rediffuse import files, yaml12
from rediffuse.provenance.digests import out_md5
from rediffuse.provenance.made import record_path
from rediffuse.verify.__main__ import main
from rediffuse.verify.sides import in_order, of_clone
from tests.pipeline.test_repro import runs
from tests.repository import Repository

SAME = "same: 39 outs of 11 stages"


def verify(repository: Repository, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run the command here; its exit code."""
    monkeypatch.chdir(repository.path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_every_out_has_the_md5_that_dvc_lists_and_a_record_of_what_made_it(finished: Repository):
    made = of_clone(finished.workspace)
    listed = {path: md5 for making in made.values() for path, md5 in making.outs.items()}
    assert len([md5 for md5 in listed.values() if md5.endswith(".dir")]) == 5
    assert {path: out_md5(finished.path / path) for path in listed} == listed
    environments = {name: making.environment or {} for name, making in made.items()}
    assert all(environment["numpy"] for environment in environments.values())
    with_torch = {name for name, environment in environments.items() if environment.get("device") == "cpu"}
    assert with_torch == {"reference", "train", "sample", "sweep", "evaluate"}


def test_the_stages_come_behind_those_they_read_from(finished: Repository):
    order = in_order(finished.workspace, yaml12.load(finished.workspace.lock)["stages"])
    assert len(order) == 11
    for first, second in (
        ("check", "prepare"),
        ("split", "train"),
        ("train", "sample"),
        ("sweep", "evaluate"),
        ("evaluate", "register"),
    ):
        assert order.index(first) < order.index(second)


def test_a_copy_is_the_same_until_an_out_of_it_differs(
    finished: Repository,
    trained: Repository,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    assert verify(finished, monkeypatch, "--with", str(trained.path)) == 0
    assert capsys.readouterr().out == f"{SAME}\n"

    made = of_clone(trained.workspace)["train"]
    (record,) = (trained.workspace.state / "made" / "train").glob("*.json")
    content = files.read_json(record)
    other = dict(made.outs) | {"models/denoiser.safetensors": "f" * 32}
    files.write_json(
        record_path(trained.workspace, "train", other),
        content | {"environment": content["environment"] | {"torch": "2.11.0"}},
    )
    lock = trained.workspace.lock.read_text().replace(made.outs["models/denoiser.safetensors"], "f" * 32)
    trained.workspace.lock.write_text(lock)
    assert verify(finished, monkeypatch, "--with", str(trained.path)) == 1
    said = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"train: models/denoiser.safetensors differs \([0-9a-f]{12}… here, f{12}… there\)", said[0])
    assert said[1] == "its inputs are the same"
    assert re.fullmatch(r"the environment differs: torch \S+ here, 2.11.0 there", said[2])


def test_an_mlflow_run_is_the_same_as_the_lock_it_was_logged_with(
    finished: Repository, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (run,) = runs(finished)
    assert verify(finished, monkeypatch, "--run", run.info.run_id) == 0
    assert capsys.readouterr().out == f"{SAME}\n"


def test_another_parameter_of_an_mlflow_run_is_named(
    finished: Repository, trained: Repository, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (run,) = runs(finished)
    (trained.path / "mlflow.db").symlink_to(finished.path / "mlflow.db")
    md5 = of_clone(trained.workspace)["train"].outs["plots/training.csv"]
    lock = trained.workspace.lock.read_text().replace(md5, "f" * 32)
    trained.workspace.lock.write_text(re.sub(r"lr: 0.002(?=\n *schedule:)", "lr: 0.001", lock))
    assert verify(trained, monkeypatch, "--run", run.info.run_id) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("train: plots/training.csv differs (ffffffffffff… here, ")
    assert said[1] == "its inputs differ already: train.lr (0.001 here, 0.002 there)"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--with", "nowhere"), "nowhere is no clone: it has no dvc.yaml"),
        (("--run", "0" * 32), f"--run: MLflow gives no run {'0' * 32}"),
        (("--stage", "trainn"), "--stage: dvc.lock has no stage trainn; there are check, prepare, clean, split, "),
    ],
)
def test_a_users_mistake_is_one_line(
    finished: Repository,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
):
    assert verify(finished, monkeypatch, *arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"verify: {message}")
    assert len(said.splitlines()) == 1


def test_a_clone_in_which_nothing_was_made_has_nothing_to_verify(
    trained: Repository, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    trained.workspace.lock.unlink()
    assert verify(trained, monkeypatch) == 2
    assert "has no dvc.lock; run dvc repro there" in capsys.readouterr().err


@pytest.mark.slow
def test_a_rerun_of_the_last_stage_gives_the_same_bytes_and_leaves_no_folder(trained: Repository, tmp_path: Path):
    # What the checkout has lost comes from DVC's cache.
    trained.workspace.examples.unlink()
    (tmp_path / "temporary").mkdir()
    before = trained.run("git", "status", "--porcelain")
    said = trained.run("python", "-m", "rediffuse.verify", "--stage", "evaluate", **elsewhere(trained, tmp_path))
    assert said.splitlines()[-1] == "same: 9 outs of 2 stages"
    assert "Running stage 'evaluate'" in said
    assert "Running stage 'sample'" not in said
    assert list((tmp_path / "temporary").glob("rediffuse*")) == []
    assert trained.run("git", "status", "--porcelain") == before


@pytest.mark.slow
def test_a_rerun_of_all_is_the_same_and_one_with_another_parameter_names_it(trained: Repository, tmp_path: Path):
    (tmp_path / "temporary").mkdir()
    command = ("python", "-m", "rediffuse.verify")
    said = trained.run(*command, **elsewhere(trained, tmp_path))
    assert said.splitlines()[-1] == SAME
    assert not (trained.path / "mlflow.db").exists()

    trained.edit(**{"  lr: 2.0e-3 ": "  lr: 1.0e-3 "})
    said = trained.run(*command, "--stage", "train", code=1, **elsewhere(trained, tmp_path))
    assert said.splitlines()[-1] == "verify: NOT the same bytes"
    lines = said.splitlines()[-4:-1]
    assert lines[0].startswith("train: metrics/train.json differs (")
    assert lines[1] == "its inputs differ already: train.lr (0.002 here, 0.001 there)"
    assert list((tmp_path / "temporary").glob("rediffuse*")) == [
        Path(lines[2].removeprefix("the rerun lies in ")).parent
    ]


def elsewhere(repository: Repository, tmp_path: Path) -> dict[str, str]:
    return {"PYTHONPATH": str(repository.path / "src"), "TMPDIR": str(tmp_path / "temporary")}
