"""Case 19: a corrupt blob in DVC's cache is checked out in silence, and the next stage refuses it.

On two small stages of their own in a repository of DVC's, run by `run_stage` as the real ones are.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rediffuse import yaml12
from rediffuse.errors import UserError
from rediffuse.provenance.inputs import check_inputs
from tests.repository import CHECKOUT, Repository, edit

STAGES = """
import sys
from pathlib import Path
from rediffuse.stage import run_stage

def clean(params, workspace):
    Path("data/shards").mkdir(parents=True, exist_ok=True)
    for name in ("data/examples.npy", "data/shards/0", "data/shards/1"):
        Path(name).write_text(f"{name} {params.seed}" * 100)
    return {}

def train(params, workspace):
    Path("model").write_text(Path("data/examples.npy").read_text() + str(params.train.lr))
    return {}

run_stage({"clean": clean, "train": train}[sys.argv[1]])
"""
DAG = """
stages:
  clean:
    cmd: python stages.py clean
    deps: [stages.py]
    params: [seed]
    outs: [data/examples.npy, data/shards]
  train:
    cmd: python stages.py train
    deps: [data/examples.npy, data/shards, stages.py]
    params: [train.lr]
    outs: [model]
"""
OTHER_LR = {"  lr: 2.0e-3 ": "  lr: 1.0e-3 "}
OTHER_SEED = {"\nseed: 0 ": "\nseed: 1 "}


class SmallRepository(Repository):
    def environment(self, **changes: str) -> dict[str, str]:
        return super().environment(PYTHONPATH=str(CHECKOUT / "src"), **changes)

    def locked(self, stage: str, field: str) -> dict[str, str]:
        return {entry["path"]: entry["md5"] for entry in yaml12.load(self.workspace.lock)["stages"][stage][field]}

    def blob(self, md5: str) -> Path:
        return self.path / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> SmallRepository:
    """After `dvc repro`; tests leave it as it is."""
    repository = SmallRepository(tmp_path_factory.mktemp("small"))
    (repository.path / "stages.py").write_text(STAGES)
    (repository.path / "dvc.yaml").write_text(DAG)
    (repository.path / ".gitignore").write_text("__pycache__\n.pipeline\n")
    shutil.copyfile(CHECKOUT / "params.yaml", repository.workspace.params)
    edit(repository.workspace.params, {"  tracking: true": "  tracking: false"})
    repository.run("git", "init", "-q", "-b", "main")
    repository.run("dvc", "init", "-q")
    repository.run("dvc", "config", "core.analytics", "false")
    repository.run("dvc", "config", "cache.type", "hardlink")
    repository.run("dvc", "repro", "-q")
    repository.commit()
    return repository


@pytest.fixture
def copied(small: SmallRepository, tmp_path: Path) -> SmallRepository:
    shutil.copytree(small.path, tmp_path / "copy", symlinks=True)
    return SmallRepository(tmp_path / "copy")


def flip(path: Path) -> None:
    """Flip a bit, and leave size, times and rights as they were: what DVC looks at."""
    before = path.stat()
    path.chmod(0o644)
    with path.open("rb+") as file:
        first = file.read(1)
        file.seek(0)
        file.write(bytes([first[0] ^ 1]))
    path.chmod(before.st_mode)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    ("out", "name", "link"),
    [
        ("data/examples.npy", "data/examples.npy", "hardlink"),
        ("data/shards", "data/shards/1", "copy"),
        pytest.param("data/examples.npy", "data/examples.npy", "symlink", marks=pytest.mark.slow),
    ],
)
def test_a_corrupt_blob_is_named_before_training_and_the_advice_heals_it(
    copied: SmallRepository, out: str, name: str, link: str
):
    whole, lock = (copied.path / name).read_bytes(), copied.workspace.lock.read_bytes()
    copied.run("dvc", "config", "cache.type", link)
    blob = next(path for path in (copied.path / ".dvc/cache/files").rglob("*") if path.is_file() and _same(path, whole))
    shutil.rmtree(copied.path / "data")
    flip(blob)
    copied.edit(**OTHER_LR)

    said = copied.run("dvc", "repro", code=255)
    assert "Stage 'clean' is cached - skipping run, checking out outputs" in said
    assert (copied.path / name).read_bytes() != whole
    (line,) = [line for line in said.splitlines() if line.startswith("stage train: ")]
    assert line.startswith(
        f"stage train: {name} is not what dvc.lock lists for stage clean: DVC's cache holds damaged bytes; delete them "
        f"(rm -f '{name}' '{blob.relative_to(copied.path)}')"
    )
    assert not (copied.path / "model").exists()
    assert copied.workspace.lock.read_bytes() == lock

    advice = re.search(r"\((rm -f .*?)\)", line)
    assert advice is not None
    subprocess.run(advice[1], shell=True, cwd=copied.path, check=True)
    copied.run("dvc", "repro")
    assert (copied.path / name).read_bytes() == whole
    assert (copied.path / "model").exists()


def _same(path: Path, content: bytes) -> bool:
    return path.read_bytes() == content


@pytest.fixture
def rotten(small: SmallRepository) -> Iterator[Callable[[str], None]]:
    """A function that damages a file of the small repository; afterwards all is well again."""
    damaged: list[Path] = []

    def damage(name: str) -> None:
        damaged.append(small.path / name)
        flip(damaged[-1])

    yield damage
    for path in damaged:
        flip(path)


@pytest.mark.parametrize("name", ["data/examples.npy", "data/shards/0"])
def test_bytes_that_change_where_dvc_does_not_look_are_found(
    small: SmallRepository, rotten: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, name: str
):
    monkeypatch.setenv("DVC_STAGE", "train")
    check_inputs(small.workspace, "train")
    rotten(name)
    with pytest.raises(UserError, match=f"^{name} is not what dvc.lock lists for stage clean"):
        check_inputs(small.workspace, "train")
    check_inputs(small.workspace, "clean")
    monkeypatch.delenv("DVC_STAGE")
    check_inputs(small.workspace, "train")


@pytest.mark.parametrize(("added", "dep"), [("data/raw", "${prepare.path}"), ("data", "data/raw/0")])
def test_raw_data_under_dvc_add_is_read_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, added: str, dep: str):
    repository = SmallRepository(tmp_path)
    shutil.copyfile(CHECKOUT / "params.yaml", repository.workspace.params)
    (tmp_path / "dvc.yaml").write_text(f"stages:\n  prepare: {{cmd: none, deps: ['{dep}'], outs: [prepared]}}\n")
    raw = tmp_path / "data" / "raw" / "0"
    raw.parent.mkdir(parents=True)
    raw.write_text("pixels" * 100)
    repository.run("dvc", "init", "-q", "--no-scm")
    repository.run("dvc", "config", "cache.type", "hardlink")
    repository.run("dvc", "add", "-q", added)
    monkeypatch.setenv("DVC_STAGE", "prepare")
    check_inputs(repository.workspace, "prepare")

    raw = raw.resolve()
    whole = raw.read_bytes()
    flip(raw)
    damaged = rf"^data/raw/0 is not what {added}.dvc lists: DVC's cache holds damaged bytes; delete them \(rm -f 'data/"
    with pytest.raises(UserError, match=damaged):
        check_inputs(repository.workspace, "prepare")
    raw.unlink()
    raw.write_bytes(whole + b"replaced")
    check_inputs(repository.workspace, "prepare")


def test_a_file_that_the_user_replaced_is_taken_by_a_single_stage(copied: SmallRepository):
    replaced = copied.path / "data" / "examples.npy"
    replaced.unlink()
    replaced.write_text("by hand")
    copied.run("dvc", "repro", "--single-item", "train")
    assert (copied.path / "model").read_text() == "by hand0.002"
    assert copied.locked("train", "deps")["data/examples.npy"] != copied.locked("clean", "outs")["data/examples.npy"]


@pytest.mark.parametrize(
    "command",
    [
        ("repro", "--no-commit"),
        ("exp", "run", "--temp"),
        pytest.param(("repro", "--force"), marks=pytest.mark.slow),
        pytest.param(("exp", "run"), marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_new_outs_of_the_stage_before_are_what_dvc_lock_lists_by_then(
    copied: SmallRepository, command: tuple[str, ...]
):
    copied.edit(**OTHER_SEED)
    said = copied.run("dvc", *command)
    assert "Running stage 'clean'" in said
    assert "Running stage 'train'" in said
