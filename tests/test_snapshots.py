"""Snapshots in a folder: which there are, what is read of them, and what is refused."""

from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from rediffuse import files, model, power_ema
from rediffuse.errors import UserError
from rediffuse.model import build_model, describe, load_model, save_model
from rediffuse.networks import build_network
from rediffuse.randomness import seeded_global
from rediffuse.snapshots import Snapshot, earlier, planned, publish, read_index, reconstruct
from tests.data.planted import params_with

CPU = torch.device("cpu")
PARAMS = params_with()
DESCRIPTION = describe(PARAMS.model, PARAMS.diffusion, shape=(1, 8, 8), classes=("a", "b"), sigma_data=0.5)
POWER = {"ema": "power", "steps": 100, "snapshots": 4}


class Buffered(nn.Module):
    """A network with buffers: a running mean, which is averaged, and a count, which is not."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("count", torch.tensor(0))


@pytest.fixture(autouse=True)
def _buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "build_network", lambda *description: Buffered(build_network(*description)))


def filled(folder: Path, snapshots: tuple[Snapshot, ...]) -> list[dict[str, Tensor]]:
    """Models with other weights each, published from another folder; their weights."""
    made = []
    for number, snapshot in enumerate(snapshots):
        with seeded_global(number, "weights"):
            built = build_model(DESCRIPTION, CPU)
            nn.init.normal_(built.denoiser.network.mean)
            built.denoiser.network.count.fill_(snapshot.step)
        save_model(folder.parent / "kept" / snapshot.file, DESCRIPTION, built.denoiser)
        made.append(built.denoiser.network.state_dict())
    publish(folder.parent / "kept", folder, snapshots)
    return made


def train_params(**changes: object):
    return PARAMS.train.model_copy(update=changes)


def test_snapshots_are_evenly_spaced_and_the_last_is_at_the_end():
    constant = planned(train_params(steps=10, snapshots=4))
    assert [(each.step, each.length) for each in constant] == [(2, None), (5, None), (8, None), (10, None)]
    assert constant[0].file == "step-00000002.safetensors"
    power = planned(train_params(**POWER))
    assert [(each.step, each.length) for each in power[:3]] == [(25, 0.05), (25, 0.1), (50, 0.05)]
    assert power[0].file == "step-00000025-0.050.safetensors"
    assert planned(train_params(snapshots=0)) == ()


def test_the_index_lists_what_the_folder_holds_and_nothing_else_lies_there(tmp_path: Path):
    snapshots = planned(train_params(**POWER))
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "snapshots" / "step-00000007.safetensors").write_bytes(b"of another training")
    filled(tmp_path / "snapshots", snapshots)
    listed = files.read_json(tmp_path / "snapshots" / "index.json")
    assert listed[1] == {"file": "step-00000025-0.100.safetensors", "step": 25, "length": 0.1}
    assert {path.name for path in (tmp_path / "snapshots").iterdir()} == {"index.json", *(e["file"] for e in listed)}
    assert read_index(tmp_path / "snapshots") == snapshots
    publish(tmp_path, tmp_path / "snapshots", ())
    assert [path.name for path in (tmp_path / "snapshots").iterdir()] == ["index.json"]
    assert read_index(tmp_path / "snapshots") == ()


def test_a_reconstruction_is_the_weighted_sum_with_the_last_ones_counts(tmp_path: Path):
    snapshots = planned(train_params(**POWER))
    weights = filled(tmp_path / "snapshots", snapshots)
    made = reconstruct(tmp_path / "snapshots", 0.075, CPU, key="sample.ema_length").denoiser.network.state_dict()
    profiles = [power_ema.Profile(each.step, each.length) for each in snapshots]
    parts = power_ema.coefficients(profiles, power_ema.Profile(100, 0.075))
    assert int(made["count"]) == 100
    for name in ("mean", "network.stem.weight"):
        expected = sum(part * each[name].double() for part, each in zip(parts, weights, strict=True))
        assert torch.equal(made[name], expected.float())
        assert made[name].dtype == torch.float32


@pytest.mark.parametrize("length", power_ema.LENGTHS)
def test_a_reconstruction_of_what_was_stored_is_that_snapshot(tmp_path: Path, length: float):
    folder = tmp_path / "snapshots"
    filled(folder, planned(train_params(**POWER)))
    made = reconstruct(folder, length, CPU, key="sample.ema_length").denoiser.state_dict()
    stored = load_model(folder / Snapshot(100, length).file, CPU).denoiser.state_dict()
    for name, value in stored.items():
        torch.testing.assert_close(made[name], value, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("changes", "share", "step"),
    [
        ({"steps": 100, "snapshots": 4}, 0.25, 25),
        ({"steps": 100, "snapshots": 4}, 0.6, 50),
        ({"steps": 100, "snapshots": 4}, 0.0, 25),
        ({"steps": 100, "snapshots": 4}, 0.375, 25),
        (POWER, 0.7, 75),
    ],
)
def test_the_earlier_model_is_the_snapshot_nearest_to_the_share(tmp_path: Path, changes, share: float, step: int):
    snapshots = planned(train_params(**changes))
    weights = filled(tmp_path / "snapshots", snapshots)
    chosen = Snapshot(step, 0.1 if "ema" in changes else None)
    found = earlier(tmp_path / "snapshots", share, CPU).denoiser.network
    assert torch.equal(found.mean, weights[snapshots.index(chosen)]["mean"])


def test_what_is_not_there_is_refused_by_its_key(tmp_path: Path):
    folder = tmp_path / "snapshots"

    def refused(message: str, length: float = 0.07) -> None:
        with pytest.raises(UserError, match=message):
            reconstruct(folder, length, CPU, key="sample.ema_length")

    refused(r"index\.json is missing; `dvc repro train` makes it")
    filled(folder, planned(train_params(steps=10, snapshots=2)))
    refused(r"sample\.ema_length is 0\.07, but the training kept no snapshots of train\.ema power")
    filled(folder, planned(train_params(**POWER)))
    refused(r"params\.yaml: sample\.ema_length is 0\.02, an average whose profile 4 snapshots", 0.02)
    (folder / Snapshot(100, 0.05).file).unlink()
    refused(r"step-00000100-0\.050\.safetensors is missing")
    publish(tmp_path, folder, ())
    with pytest.raises(UserError, match=r"guidance_reference is snapshot, but snapshots/index\.json lists none"):
        earlier(folder, 0.5, CPU)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train__ema": "power", "train__snapshots": 1}, "train.ema is power, but train.snapshots is 1"),
        ({"train__steps": 500, "train__snapshots": 501}, "train.snapshots is 501, more than train.steps .500."),
    ],
)
def test_snapshots_that_can_not_serve_are_refused_at_load(changes: dict[str, object], message: str):
    with pytest.raises(ValidationError, match=message):
        params_with(**changes)


def test_the_start_of_the_constant_average_does_not_bind_the_other():
    assert params_with(train__ema="power", train__steps=100).train.ema_start == 300
