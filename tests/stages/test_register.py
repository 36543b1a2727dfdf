"""Stage `register`: who is eligible, what the registry is told, and the model's folder."""

import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from rediffuse import files
from rediffuse.model import build_model, describe, save_model
from rediffuse.params import Params
from rediffuse.randomness import seeded_global
from rediffuse.serving.package import REQUIREMENTS
from rediffuse.tracking import Candidate, Untracked
from rediffuse.workspace import Workspace
from stages.register import interval, protocol, register
from tests.data.planted import params_with

METRICS: dict[str, Any] = {
    "fidelity": {"fd": 0.6, "fd_low": 0.55, "fd_high": 0.65, "fd_floor": 0.5, "fd_full": 0.58},
    "by_extractor": {"pca": {"fd": 3.0}},
    "likelihood": None,
    "protocol": {
        "fidelity": {"extractor": "classifier", "digest": "d" * 64, "images": 180, "seed": 0},
        "pca": {"extractor": "pca", "digest": "e" * 64, "images": 180},
        "likelihood": "none",
    },
}


PARAMS = params_with()


class Told:
    """A run that remembers what is registered, and what is written for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "model"
        self.candidates: list[Candidate] = []
        self.content: dict[str, bytes] = {}

    def register(self, candidate: Candidate, write: Callable[[Path], None]) -> None:
        self.candidates.append(candidate)
        write(self.folder)
        self.content = {
            path.relative_to(self.folder).as_posix(): path.read_bytes()
            for path in self.folder.rglob("*")
            if path.is_file()
        }


@pytest.fixture
def made(tmp_path: Path) -> Workspace:
    """What the stages before leave behind."""
    params, workspace = params_with(model__unet__width=8, model__unet__head_channels=8), Workspace.at(tmp_path)
    description = describe(params.model, params.diffusion, shape=(1, 8, 8), classes=("a", "b"), sigma_data=0.5)
    with seeded_global(0, "weights"):
        save_model(workspace.denoiser, description, build_model(description, torch.device("cpu")).denoiser)
    files.write_json(workspace.metrics("evaluate"), METRICS)
    files.write_bytes(workspace.model_card, b"# Digits\n")
    return workspace


def asking(*require: str, **changes: Any) -> Params:
    return params_with(prepare__source="digits", register__require=require, **changes)


def test_an_eligible_model_is_handed_over_with_its_card_score_and_protocol(
    made: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    params, run = asking("fidelity.fd <= 2 * fidelity.fd_floor"), Told(tmp_path)
    verdict = register(params, made, run)  # type: ignore[arg-type]
    assert verdict == files.read_json(made.metrics("register"))
    assert verdict == {
        "eligible": True,
        "conditions": [
            {"rule": "fidelity.fd <= 2 * fidelity.fd_floor", "found": "0.6 <= 2 * 0.5 = 1", "met": True},
        ],
        "name": "rediffuse-digits",
        "metric": "fidelity.fd",
        "value": 0.6,
        "low": 0.55,
        "high": 0.65,
    }
    assert run.candidates == [
        Candidate(
            name="rediffuse-digits",
            alias="champion",
            description="# Digits\n\nThe whole card is `model_card.md` in the model's folder.\n",
            metric="fidelity.fd",
            better="lower",
            value=0.6,
            low=0.55,
            high=0.65,
            protocol={"extractor": "classifier", "digest": "d" * 64, "images": "180"},
        )
    ]
    check_folder(run.content, made)
    assert capsys.readouterr() == ("", "")


def test_why_a_model_can_not_be_guided_and_how_it_is_spoken_to_is_handed_over(
    made: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed: list[dict[str, Any]] = []
    monkeypatch.setattr("stages.register.write_package", lambda folder, **parts: packed.append(parts))
    monkeypatch.setattr(Told, "register", lambda run, candidate, write: write(run.folder))
    for drop in (0.0, 0.1):
        params = asking(train__label_drop=drop)
        register(params, made, Told(tmp_path))  # type: ignore[arg-type]
        assert packed[-1]["prompts"] is params.prompts
    assert packed[0]["unguided"].startswith("with train.label_drop 0 the model never learns to go without a label")
    assert packed[0]["needs_label"] == packed[0]["unguided"]
    assert packed[1]["unguided"] is packed[1]["needs_label"] is None


def check_folder(content: dict[str, bytes], made: Workspace) -> None:
    """Weights and settings, code and pins: and nothing that runs when it is read."""
    assert not [name for name in content if name.endswith((".pkl", ".pyc", ".pickle"))]
    assert content["model_card.md"] == b"# Digits\n"
    assert content["artifacts/denoiser.safetensors"] == made.denoiser.read_bytes()
    assert "code/rediffuse/sampling.py" in content
    pinned = [f"{name}=={version(name).partition('+')[0]}" for name in REQUIREMENTS]
    assert content["requirements.txt"].decode().split() == pinned
    described = yaml.safe_load(content["MLmodel"])
    assert described["flavors"]["python_function"]["loader_module"] == "mlflow.pyfunc.loaders.code_model"
    inputs, outputs = (json.loads(described["signature"][side]) for side in ("inputs", "outputs"))
    assert [(each["name"], each["type"], each["required"]) for each in inputs] == [
        *(("prompt", "string", False), ("label", "string", False), ("seed", "any", False), ("index", "any", False)),
        *(("count", "any", False), ("to_seed", "any", False), ("share", "any", False)),
    ]
    assert [(each["name"], each["type"]) for each in outputs] == [
        *(("png", "binary"), ("prompt", "string"), ("seed", "long"), ("index", "long")),
    ]
    params = json.loads(described["signature"]["params"])
    assert {each["name"]: (each["type"], each["default"]) for each in params} == {
        "prompt": ("string", None),
        "label": ("string", None),
        "seed": ("long", None),
        "count": ("long", 1),
        "steps": ("long", 20),
        "sampler": ("string", "dpmpp_2m"),
        "guidance": ("double", 1.0),
        "temperature": ("double", 1.0),
    }
    settings = json.loads(content["artifacts/sampling.json"])
    assert (settings["prompts"], settings["unguided"]) == (PARAMS.prompts.model_dump(mode="json"), None)
    assert settings["needs_label"] is None
    assert json.loads(content["input_example.json"]) == {"columns": ["label", "seed", "index"], "data": [["a", 0, 0]]}


@pytest.mark.parametrize(
    ("require", "missed"),
    [
        ("fidelity.fd <= fidelity.fd_floor", "fidelity.fd <= fidelity.fd_floor (0.6 <= 0.5)"),
        ("utility.cas_accuracy > 0", "utility.cas_accuracy > 0 (this run has no utility.cas_accuracy)"),
    ],
)
def test_who_is_not_eligible_is_told_why_and_not_registered(
    made: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str], require: str, missed: str
) -> None:
    run = Told(tmp_path)
    verdict = register(asking("fidelity.fd < 1", require), made, run)  # type: ignore[arg-type]
    assert verdict["eligible"] is False
    assert run.candidates == []
    assert capsys.readouterr().out == f"not registered: register.require asks for {missed}\n"


def test_without_tracking_or_a_wish_the_out_is_the_same_and_a_line_says_so(
    made: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    register(asking(), made, Told(tmp_path))  # type: ignore[arg-type]
    before = made.metrics("register").read_bytes()
    assert register(asking(), made, Untracked())["eligible"] is True
    assert capsys.readouterr().out == (
        "not registered: runtime.tracking is off; once it is on, `dvc repro -f -s register` registers it\n"
    )
    assert made.metrics("register").read_bytes() == before
    run = Told(tmp_path / "off")
    assert register(asking(register__enabled=False), made, run)["eligible"] is True  # type: ignore[arg-type]
    assert capsys.readouterr().out == "not registered: register.enabled is false\n"
    assert (run.candidates, made.metrics("register").read_bytes()) == ([], before)


def test_a_score_without_an_interval_or_a_run_without_the_score(made: Workspace, tmp_path: Path) -> None:
    assert interval(METRICS, ("fidelity", "fd_full")) == (0.58, 0.58, 0.58)
    assert interval(METRICS, ("likelihood", "bits_per_dim")) == (None, None, None)
    run = Told(tmp_path)
    register(asking(register__metric="likelihood.bits_per_dim"), made, run)  # type: ignore[arg-type]
    assert (run.candidates[0].value, run.candidates[0].protocol) == (None, {"likelihood": "none"})


def test_each_score_is_compared_by_the_protocol_of_its_block() -> None:
    assert protocol(METRICS, ("by_extractor", "pca", "fd"))["digest"] == "e" * 64
    assert protocol(METRICS, ("controls", "noised", "fd"))["digest"] == "d" * 64
    assert protocol(METRICS, ("n_samples",)) == {}
    recipe = {"repeats": 3, "seed": 1, "recipe": {"lr": 0.1}}
    described = {"protocol": {"utility": recipe, "likelihood": {"how": "by an ODE", "images": 20, "seed": 0}}}
    assert protocol(described, ("utility", "cas_accuracy")) == {"recipe.lr": "0.1"}
    assert protocol(described, ("likelihood", "bits_per_dim")) == {"how": "by an ODE", "images": "20"}
