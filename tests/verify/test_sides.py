"""What a clone and an MLflow run are compared by: a dvc.lock and a run that are written here, and no pipeline."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rediffuse import files
from rediffuse.errors import UserError
from rediffuse.params import flatten, load_params
from rediffuse.provenance.digests import file_md5, listing_md5
from rediffuse.provenance.made import record_path
from rediffuse.tracking.key import content_key
from rediffuse.tracking.names import as_text, safe_name
from rediffuse.verify import sides
from rediffuse.verify.comparison import compare
from rediffuse.workspace import Workspace
from tests.repository import edit

CHECKOUT = Path(__file__).parents[2]
OUTS = {"reference": "data/reference", "train": "models/denoiser.safetensors", "sample": "samples/images.npy"}
LOCK = """schema: '2.0'
stages:
  reference:
    deps: [{{path: data/split, md5: aaaa}}]
    params: {{params.yaml: {{seed: 0, evaluate.neighbours: 3}}}}
    outs: [{{path: data/reference, md5: aaaa.dir}}]
  train:
    deps: [{{path: src/training, md5: {code}}}]
    params:
      params.yaml:
        train.lr: {lr}
        train.grad_clip: 1
        model: {{size: tiny, unet: {{width: null, multipliers: null, dropout: 0}}}}
    outs: [{{path: models/denoiser.safetensors, md5: bbbb}}]
  sample:
    params: {{params.yaml: {{diffusion.preset: edm, sample.sampler: null, sample.eta: null, sample.classes: null}}}}
    outs: [{{path: samples/images.npy, md5: cccc}}]
"""
BUG = "nothing in the environment explains it; other raw data would, and else this is a bug, please report it"
COARSE = "the code of the whole project differs (a coarse key)"
UNKNOWN = "the code can't be compared: code or parameters here are no longer those of one side"


@pytest.fixture
def clone(tmp_path: Path) -> Workspace:
    """A clone on two machines: training on the first, all else on the second."""
    workspace = Workspace.at(tmp_path)
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copyfile(CHECKOUT / name, tmp_path / name)
    # The lock below is of the preset's own sampler.
    edit(workspace.params, {"  sampler: dpmpp_2m ": "  sampler: null "})
    # Beside the code lies what Python keeps of it, which DVC does not look at.
    (tmp_path / "src" / "training" / "__pycache__").mkdir(parents=True)
    (tmp_path / "src" / "training" / "fit.py").write_text("lr\n")
    (tmp_path / "src" / "training" / "__pycache__" / "fit.pyc").write_text("lr\n")
    write_lock(workspace, lr=0.002)
    for stage, making in sides.of_clone(workspace).items():
        machine = {"gpu": "H100"} if stage == "train" else {"cpu": "laptop"}
        files.write_json(record_path(workspace, stage, making.outs), {"environment": machine})
    return workspace


def write_lock(workspace: Workspace, lr: float) -> None:
    code = listing_md5({"fit.py": file_md5(workspace.root / "src" / "training" / "fit.py")})
    workspace.lock.write_text(LOCK.format(lr=lr, code=code))


@pytest.fixture
def verdict(clone: Workspace, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[str, ...]]:
    """(stage whose out differs in the run, and what else) -> what is said.

    Args:
        params: of the run, where they are not those that params.yaml has when this is called.
        tags: of the run, that replace those of an equal one.
        first: is called when the run has ended.
    """

    def say(
        stage: str, *, params: dict[str, str] | None = None, tags: dict[str, str] | None = None, first: Any = None
    ) -> tuple[str, ...]:
        known = load_params(clone.params)
        listed = {safe_name(key): as_text(value) for key, value in flatten(known.tracked()).items()}
        kept = {f"out.{path}": making.outs[path] for making in sides.of_clone(clone).values() for path in making.outs}
        machines = {"environment.train.gpu": "H100", "environment.reference.cpu": "laptop"}
        machines["environment.sample.cpu"] = "laptop"
        every = {**kept, **machines, "rediffuse.key": content_key(known, clone), f"out.{OUTS[stage]}": "ffff"}
        run = SimpleNamespace(data=SimpleNamespace(params=listed | (params or {}), tags=every | (tags or {})))
        monkeypatch.setattr(sides, "_run", lambda *_: run)
        if first:
            first()
        here, there = sides.of_run(clone, "id", sides.of_clone(clone))
        return compare(here, there, list(OUTS)).lines[1:]

    return say


def test_a_run_like_the_lock_leaves_nothing_that_explains_a_difference(verdict: Callable[..., tuple[str, ...]]):
    for stage in OUTS:
        assert verdict(stage) == ("its parameters are the same", BUG)


def test_what_the_lock_was_made_of_is_compared_and_not_what_params_yaml_says_now(
    clone: Workspace, verdict: Callable[..., tuple[str, ...]]
):
    environment = record_path(clone, "train", sides.of_clone(clone)["train"].outs).read_bytes()
    write_lock(clone, lr=0.001)
    record_path(clone, "train", sides.of_clone(clone)["train"].outs).write_bytes(environment)
    assert verdict("train") == ("its inputs differ already: train.lr (0.001 here, 0.002 there)",)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tags": {"rediffuse.key": "other"}}, (COARSE,)),
        (
            {"tags": {"rediffuse.key": "other", "environment.train.gpu": "L4"}},
            ("the environment differs: gpu H100 here, L4 there", COARSE),
        ),
        ({"params": {"sample.count": "7"}}, (UNKNOWN,)),
        ({"tags": {"environment.evaluate.cpu": "desktop"}}, (BUG,)),
    ],
    ids=["code", "machine", "other parameters", "machine of another stage"],
)
def test_the_code_of_the_whole_project_comes_after_the_environment(
    verdict: Callable[..., tuple[str, ...]], changes: dict[str, Any], said: tuple[str, ...]
):
    assert verdict("train", **changes) == ("its parameters are the same", *said)


def test_code_that_was_edited_since_is_not_compared(clone: Workspace, verdict: Callable[..., tuple[str, ...]]):
    edited = verdict("train", first=lambda: (clone.root / "src" / "training" / "fit.py").write_text("# lr\n"))
    assert edited == ("its parameters are the same", UNKNOWN)


@pytest.mark.parametrize(
    ("stage", "params", "said"),
    [
        ("reference", {"evaluate.kid_subsets": "7"}, "its parameters are the same"),
        ("reference", {"evaluate.neighbours": "7"}, "its inputs differ already: evaluate.neighbours (3 here, 7 there)"),
        ("sample", {"sample.eta": "0.5"}, "its inputs differ already: sample.eta (0.0 here, 0.5 there)"),
        ("sample", {"sample.classes.3": "1.0"}, "its inputs differ already: sample.classes.3 (None here, 1.0 there)"),
        ("sample", {"diffusion.process": "ve"}, "its parameters are the same"),
        ("sample", {"sample.sampler": "ddim"}, "its inputs differ already: sample.sampler (heun here, ddim there)"),
        ("train", {"model.size": "small"}, "its inputs differ already: model.size (tiny here, small there)"),
        ("train", {"model.unet.width": "32"}, "its inputs differ already: model.unet.width (64 here, 32 there)"),
        (
            "train",
            {"model.unet.multipliers": "[1, 2]"},
            "its inputs differ already: model.unet.multipliers ([1] here, [1, 2] there)",
        ),
        ("train", {"model.unet.blocks": "7"}, "its parameters are the same"),
    ],
)
def test_a_parameter_counts_for_the_stages_that_list_it(
    verdict: Callable[..., tuple[str, ...]], stage: str, params: dict[str, str], said: str
):
    assert verdict(stage, params=params)[0] == said


def test_stages_that_dvc_yaml_and_dvc_lock_do_not_both_know_are_left_out_and_named(clone: Workspace):
    clone.pipeline.write_text(
        "stages:\n  train: {cmd: none}\n  each: {foreach: [1], do: {cmd: none}}\n  new: {cmd: none}\n"
    )
    lock = clone.lock.read_text().replace("  reference:", "  each@1:")
    clone.lock.write_text(lock)
    assert sides.of_clone(clone).keys() == {"each@1", "train"}
    assert sides.unmatched(clone) == [
        "sample: left out, for dvc.yaml has no such stage any more",
        "new: left out, for dvc.lock has no such stage yet; dvc repro makes it",
    ]


@pytest.mark.parametrize("scheme", ["http", "postgresql", "mysql+pymysql"])
def test_a_server_that_is_away_is_one_line_without_its_password(
    clone: Workspace, monkeypatch: pytest.MonkeyPatch, scheme: str
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{scheme}://me:hunter2@127.0.0.1:9/x")
    with pytest.raises(UserError, match=r"^--run: MLflow gives no run id: ") as caught:
        sides._run(clone, "id")
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)
