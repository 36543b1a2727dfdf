"""Stages `check`, `train` and `sample` around the snapshots: what is written, read, guided by, and refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import stages.train
from rediffuse import files, runtime, state_folder
from rediffuse.data.canaries import canaries
from rediffuse.data.card import Card
from rediffuse.data.dataset import load_split
from rediffuse.errors import UserError
from rediffuse.evaluation.memorisation.exposure import canary_scores
from rediffuse.evaluation.memorisation.losses import Attacked
from rediffuse.evaluation.memorisation.settings import MemorisationSettings
from rediffuse.model import load_model
from rediffuse.params import Params
from rediffuse.sampling import Sampling, class_mix
from rediffuse.snapshots import Snapshot, read_index, reconstruct
from rediffuse.training.fingerprint import fingerprint
from rediffuse.workspace import Workspace
from stages.check import check
from stages.sample import sample
from stages.train import fingerprint_parts, train
from tests.data.planted import contents
from tests.training.test_training import Recorder

CPU = torch.device("cpu")
TRAIN = {"steps": 8, "batch_size": 16, "microbatch": 16, "ema_start": 2, "log_every": 4, "validate_every": 8}
SAMPLE = {"count": 8, "steps": 3, "batch_size": 4}
POWER = {"ema": "power", "ema_length": 0.08, "snapshots": 4}


def small(params: Params, *, train: dict[str, object] | None = None, sample: dict[str, object] | None = None) -> Params:
    return params.model_copy(
        update={
            "train": params.train.model_copy(update=TRAIN | (train or {})),
            "sample": params.sample.model_copy(update=SAMPLE | (sample or {})),
            "runtime": params.runtime.model_copy(update={"progress": False, "preview_every": 8}),
        }
    )


@pytest.fixture(scope="module")
def power(tmp_path_factory: pytest.TempPathFactory, workspace: Workspace, params: Params) -> Workspace:
    """A workspace whose training kept power-function averages."""
    made = Workspace.at(shutil.copytree(workspace.root, tmp_path_factory.mktemp("power") / "digits"))
    train(small(params, train=POWER), made)
    return made


@pytest.fixture(scope="module")
def constant(tmp_path_factory: pytest.TempPathFactory, workspace: Workspace, params: Params) -> Workspace:
    """A workspace whose training kept averages of constant decay, and drew its previews without guidance."""
    made = Workspace.at(shutil.copytree(workspace.root, tmp_path_factory.mktemp("constant") / "digits"))
    guided = {"guidance": 2.0, "guidance_reference": "snapshot"}
    train(small(params, train={"snapshots": 4}, sample=guided), made)
    return made


def drawn(params: Params, workspace: Workspace, folder: Path, **changes: object) -> np.ndarray:
    """What the stage `sample` draws in a copy of the models."""
    copy = Workspace.at(folder)
    shutil.copytree(workspace.root / "models", copy.root / "models", dirs_exist_ok=True)
    sample(small(params, sample=changes), copy)
    return np.load(copy.sampled_images)


def test_the_last_snapshot_of_constant_decay_is_the_model(constant: Workspace):
    assert read_index(constant.snapshots) == tuple(Snapshot(step, None) for step in (2, 4, 6, 8))
    assert files.sha256(constant.snapshots / "step-00000008.safetensors") == files.sha256(constant.denoiser)
    assert not list(constant.state.rglob("*.safetensors"))


def test_the_model_of_power_averages_is_the_reconstruction_of_the_length_asked_for(power: Workspace):
    assert len(contents(power.snapshots)) == 9
    saved = load_model(power.denoiser, CPU).denoiser.state_dict()
    made = reconstruct(power.snapshots, 0.08, CPU, key="train.ema_length").denoiser.state_dict()
    assert all(torch.equal(saved[name], made[name]) for name in saved)
    other = load_model(power.snapshots / Snapshot(8, 0.1).file, CPU).denoiser.state_dict()
    assert any(not torch.equal(saved[name], other[name]) for name in saved)


def test_the_raw_weights_are_those_that_the_average_is_made_of(constant: Workspace, power: Workspace, params: Params):
    for made in (constant, power):
        raw, averaged = load_model(made.raw, CPU), load_model(made.denoiser, CPU)
        assert raw.description == averaged.description
        pairs = zip(raw.denoiser.state_dict().values(), averaged.denoiser.state_dict().values(), strict=True)
        assert any(not torch.equal(a, b) for a, b in pairs)
    # With a decay of 0 the average is a copy of them.
    early = Workspace.at(constant.root.parent / "early")
    shutil.copytree(constant.root / "data", early.root / "data")
    train(small(params, train={"ema_start": 7, "steps": 8, "ema_decay": 0.0, "snapshots": 4}), early)
    assert early.raw.read_bytes() == early.denoiser.read_bytes()


def test_a_sharded_training_leaves_the_raw_weights_of_a_whole_one(tmp_path: Path, workspace: Workspace, params: Params):
    # In bfloat16 last bits are thousandths.
    exact = params.model_copy(update={"model": params.model.model_copy(update={"precision": "fp32"})})
    made = [Workspace.at(shutil.copytree(workspace.root, tmp_path / name)) for name in ("sharded", "whole")]
    for each, shard in zip(made, (True, False), strict=True):
        train(small(exact, train={"snapshots": 4, "shard": shard}), each)
    ours, whole = (load_model(each.raw, CPU).denoiser.state_dict() for each in made)
    assert all(torch.allclose(ours[name], whole[name], atol=1e-5) for name in whole)


def test_the_picture_of_the_raw_weights_shows_the_noise_and_labels_of_the_other(
    tmp_path: Path, constant: Workspace, params: Params
):
    copy = Workspace.at(shutil.copytree(constant.root, tmp_path / "digits"))
    sample(small(params, sample={"count": 40}), copy)
    averaged, raw = copy.grid.read_bytes(), copy.raw_grid.read_bytes()
    assert raw != averaged
    shutil.copyfile(copy.denoiser, copy.raw)
    sample(small(params, sample={"count": 40}), copy)
    # Four of each class: fewer than either shows.
    assert copy.raw_grid.read_bytes() == copy.grid.read_bytes() == averaged


def test_a_training_without_snapshots_leaves_an_empty_index(tmp_path: Path, workspace: Workspace, params: Params):
    made = Workspace.at(shutil.copytree(workspace.root, tmp_path / "digits"))
    train(small(params, train={"snapshots": 0, "steps": 3}), made)
    assert contents(made.snapshots) == {"index.json": b"[]\n"}


def test_samples_are_of_the_length_that_is_asked_for(tmp_path: Path, power: Workspace, params: Params):
    plain = drawn(params, power, tmp_path / "plain")
    same = drawn(params, power, tmp_path / "same", ema_length=0.08)
    other = drawn(params, power, tmp_path / "other", ema_length=0.05)
    assert np.array_equal(plain, same)
    assert not np.array_equal(plain, other)
    shutil.copyfile(power.snapshots / Snapshot(8, 0.05).file, tmp_path / "denoiser.safetensors")
    stored = load_model(tmp_path / "denoiser.safetensors", CPU)
    settings = small(params).sample
    expected = next(Sampling.of(stored, settings, CPU).images(class_mix(8, stored.classes, None)))
    assert np.abs(other[:4].astype(int) - expected).max() <= 1


def test_autoguidance_leads_away_from_the_snapshot_that_is_asked_for(
    tmp_path: Path, constant: Workspace, params: Params
):
    guidance = {"guidance": 2.0, "guidance_reference": "snapshot"}
    plain = drawn(params, constant, tmp_path / "plain")
    early = drawn(params, constant, tmp_path / "early", **guidance, guidance_snapshot=0.25)
    late = drawn(params, constant, tmp_path / "late", **guidance, guidance_snapshot=0.99)
    # The last snapshot is the model itself, and what leads away from itself stays.
    assert np.array_equal(late, plain)
    model = load_model(constant.denoiser, CPU)
    reference = load_model(constant.snapshots / "step-00000002.safetensors", CPU).denoiser
    sampling = Sampling.of(model, small(params, sample=guidance).sample, CPU, reference=reference)
    assert np.array_equal(early[:4], next(sampling.images(class_mix(8, model.classes, None))))
    assert not np.array_equal(early, plain)
    evaluations = [files.read_json(Workspace.at(tmp_path / name).metrics("sample")) for name in ("plain", "early")]
    assert evaluations[1]["evaluations"] == 2 * evaluations[0]["evaluations"]


def test_a_length_that_can_not_be_made_is_refused_before_it_is_trained(workspace: Workspace, params: Params):
    for changes in ({"train": POWER | {"ema_length": 0.02}}, {"train": POWER, "sample": {"ema_length": 0.02}}):
        with pytest.raises(UserError, match=r"\.ema_length is 0\.02, an average whose profile 4 snapshots"):
            check(small(params, **changes), workspace)
    with pytest.raises(UserError, match=r"train\.ema_length is 0\.02"):
        train(small(params, train=POWER | {"ema_length": 0.02}), workspace)
    assert not (workspace.state / "train").exists()
    assert check(small(params, train=POWER), workspace) == {}


def test_a_training_whose_steps_are_all_refused_has_no_loss_and_tells_what_it_was(
    tmp_path: Path, workspace: Workspace, params: Params, monkeypatch: pytest.MonkeyPatch
):
    made, log = Workspace.at(shutil.copytree(workspace.root, tmp_path / "digits")), Recorder()
    monkeypatch.setattr("torch.nn.utils.clip_grad_norm_", lambda *_: torch.tensor(float("nan")))
    guard = params.train.guard.model_copy(update={"non_finite": "skip"})
    metrics = train(small(params, train={"steps": 3, "snapshots": 0, "guard": guard}), made, log)
    assert (metrics["skipped_steps"], "loss" in metrics) == (3, False)
    assert made.plot("training").read_text() == "step,loss,lr\n"
    assert log.documents["fingerprint"]["seed"] == params.seed


@pytest.mark.parametrize("name", ["models", "plots", "metrics", ".pipeline", ".pipeline/train"])
def test_an_output_that_can_not_be_written_is_told_before_the_first_step(
    own_workspace: Workspace, params: Params, monkeypatch: pytest.MonkeyPatch, name: str
):
    """Acceptance case 15. Root may write into any folder, so that a file stands where a folder must."""
    path = own_workspace.root / name
    if path.is_dir():
        shutil.rmtree(path)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"")
    monkeypatch.setattr("stages.train.fit", lambda *_, **__: pytest.fail("training began"))
    with pytest.raises(UserError, match=rf"{path}.* can't be written: .*; it must be a folder that") as raised:
        train(small(params), own_workspace)
    assert (raised.value.exit_code, "\n" in str(raised.value)) == (2, False)


def test_a_training_holds_its_folder_until_all_is_written(
    own_workspace: Workspace, params: Params, monkeypatch: pytest.MonkeyPatch
):
    """Acceptance case 5: a second trainer is refused from the first step until the state is removed."""
    names = ("fit", "write_table", "publish", "save_model", "stay")
    seen: dict[str, bool] = {}

    def note(name: str) -> None:
        done = getattr(stages.train, name)

        def noted(*given: object, **more: object) -> object:
            (lock,) = (own_workspace.state / "train").glob("*/lock")
            seen[name] = state_folder.in_use(lock.parent)
            return done(*given, **more)

        monkeypatch.setattr(stages.train, name, noted)

    for name in names:
        note(name)
    train(small(params), own_workspace)
    assert seen == dict.fromkeys(names, True)
    assert list((own_workspace.state / "train").iterdir()) == []


def test_samples_of_another_length_need_power_averages(tmp_path: Path, constant: Workspace, params: Params):
    with pytest.raises(UserError, match=r"sample\.ema_length is 0\.05, but the training kept no snapshots of"):
        drawn(params, constant, tmp_path, ema_length=0.05)


def name_of(params: Params, *, processes: int = 1, data: tuple[str, str] = ("a", "b"), **changes: object) -> str:
    """The name of the state folder of a training."""
    given = params.model_copy(update={"runtime": params.runtime.model_copy(update=changes)})
    return fingerprint(fingerprint_parts(given, {"shape": [1, 8, 8]}, data, CPU, processes))


def test_every_part_of_the_environment_makes_it_another_training(params: Params, monkeypatch: pytest.MonkeyPatch):
    """Acceptance case 7: what was trained with another torch, or on other threads, is nothing to go on from."""
    here = name_of(params)
    assert name_of(params) == here
    facts = runtime.environment(CPU)
    assert facts.keys() - {*runtime.VARIABLES} == {"torch", "numpy", "device", "threads", "instructions", "bf16", "cpu"}
    for field in facts:
        with monkeypatch.context() as patch:
            patch.setattr(runtime, "environment", lambda _, field=field: facts | {field: "another"})
            assert name_of(params) != here, field
    for place, attribute, value in (
        (torch, "__version__", "2.9.0"),
        (np, "__version__", "1.26"),
        (torch, "get_num_threads", lambda: 64),
        (torch.backends.cpu, "get_cpu_capability", lambda: "NO AVX"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(place, attribute, value)
            assert name_of(params) != here, attribute
    assert name_of(params, data=("a", "c")) != here
    assert name_of(params.model_copy(update={"seed": 1})) != here


def test_the_number_of_processes_makes_it_another_training_only_where_their_sums_differ(params: Params):
    """Acceptance cases 7 and 9."""
    exact = [name_of(params, processes=count, reduction="exact", loaders=count) for count in (1, 2, 4)]
    assert len(set(exact)) == 1
    fast = [name_of(params, processes=count, reduction="fast") for count in (1, 2, 4)]
    # One process has nothing to reduce.
    assert fast[0] == exact[0]
    sharded = params.model_copy(update={"train": params.train.model_copy(update={"shard": True})})
    shard = [name_of(sharded, processes=count) for count in (1, 2, 4)]
    assert len({*exact, *fast, *shard}) == 1 + 2 + 3


def test_canaries_are_planted_among_the_training_images_and_nowhere_else(
    workspace: Workspace, params: Params, monkeypatch: pytest.MonkeyPatch
):
    class TrainedError(Exception):
        pass

    seen = []

    def watched(model, examples, validation, **others):
        seen.extend((examples, validation))
        raise TrainedError

    monkeypatch.setattr("stages.train.fit", watched)
    for count in (0, 3):
        with pytest.raises(TrainedError):
            train(small(params, train={"canaries": count, "canary_repeats": 20}), workspace)
    split, card = load_split(workspace, "train"), Card.read(workspace.card)
    plain, _, salted, validation = seen
    assert (plain.images.tobytes(), plain.ids, plain.stored.more) == (split.images.tobytes(), split.ids, None)
    invented = canaries("planted", 3, seed=params.seed, shape=card.shape, classes=len(card.classes))
    assert np.array_equal(salted.images[: len(split)], split.images)
    assert np.array_equal(salted.images[len(split) :], np.tile(invented.images, (20, 1, 1, 1)))
    assert validation.images.tobytes() == load_split(workspace, "val").images.tobytes()


@pytest.mark.slow
def test_a_training_learns_planted_canaries_by_heart_and_the_audit_sees_it(
    tmp_path: Path, workspace: Workspace, params: Params
):
    unet = params.model.unet.model_copy(
        update={"patch": 1, "width": 16, "multipliers": (1, 2), "blocks": 1, "attention_sizes": ()}
    )
    asked = small(
        params.model_copy(update={"model": params.model.model_copy(update={"unet": unet})}),
        train={"steps": 150, "batch_size": 64, "microbatch": 64, "ema_start": 60, "ema_decay": 0.95, "snapshots": 0}
        | {"canaries": 10, "canary_repeats": 30, "validate_every": 150},
    )
    settings = MemorisationSettings(seed=0, membership_images=0, membership_levels=4, canaries=10, canary_repeats=30)
    found = {}
    for name, count in (("planted", 10), ("without", 0)):
        made = Workspace.at(shutil.copytree(workspace.root, tmp_path / name))
        section = asked.train.model_copy(update={"canaries": count})
        runtime = asked.runtime.model_copy(update={"preview_every": 0})
        train(asked.model_copy(update={"train": section, "runtime": runtime}), made)
        attacked = Attacked.of(load_model(made.denoiser, CPU), CPU)
        generated = load_split(made, "train").images
        found[name] = canary_scores(attacked, generated, settings, shape=(1, 8, 8), classes=10)["canaries"]
    planted, without = found["planted"], found["without"]
    assert planted["exposure"] > 7
    assert planted["exposure_low"] > 4
    assert without["exposure_low"] < without["exposure_by_chance"] < without["exposure_high"] < 4
    assert planted["extracted"] == without["extracted"] == 0
