"""The averages of a training: their definitions, and the snapshots and checkpoints that hold them."""

from pathlib import Path

import pytest
import torch
from torch import nn

from rediffuse import power_ema
from rediffuse.snapshots import planned
from rediffuse.training import ema
from rediffuse.training.batches import Batches
from rediffuse.training.checkpoint import CheckpointFolder
from rediffuse.training.trainer import TrainingState, train
from tests.data.planted import contents
from tests.training.test_training import (
    CPU,
    KilledError,
    Killer,
    examples,
    model,
    run_fit,
    runtime_params,
    train_params,
    weights,
)

CONSTANT = {"ema": "constant", "snapshots": 4}
POWER = {"ema": "power", "snapshots": 4, "ema_length": 0.09}


def walk(**changes: object) -> tuple[TrainingState, list[torch.Tensor]]:
    """A trained state, and one of its weights after each step."""
    params, ours, path = train_params(**changes), model(), []
    state = TrainingState.new(ours, params)
    batches = Batches(examples().images, examples().labels, seed=0, batch_size=8, microbatch=4, device=CPU)
    for _ in train(state, ours, batches=batches, params=params, seed=0):
        path.append(state.denoiser.network.stem.weight.detach().double())
    return state, path


def test_the_constant_average_is_a_copy_until_its_start_and_then_an_average():
    assert [ema.ema_decay(step, 0.995, start=3) for step in (1, 3)] == [0, 0]
    assert ema.ema_decay(4, 0.995, start=3) == 2 / 11
    assert ema.ema_decay(10_000, 0.995, start=3) == 0.995


def test_an_average_holds_buffers_too():
    def module(value: float) -> nn.Module:
        layer = nn.BatchNorm1d(2)
        for tensor in layer.state_dict().values():
            tensor.fill_(value)
        return layer

    average = module(0.0)
    ema.update(average, module(10.0), 0.75)
    state = average.state_dict()
    assert state["weight"].tolist() == state["running_mean"].tolist() == state["running_var"].tolist() == [2.5, 2.5]
    assert int(state["num_batches_tracked"]) == 10


def test_the_constant_average_follows_its_definition_through_a_training():
    state, path = walk(steps=8, ema_start=2, ema_decay=0.6)
    (average,) = state.averages.members
    expected = path[0]
    for step, raw in enumerate(path, start=1):
        beta = 0 if step <= 2 else min(0.6, (step - 1) / (step + 8))
        expected = beta * expected + (1 - beta) * raw
    assert (average.name, average.length) == ("average", None)
    assert average.denoiser is state.average
    torch.testing.assert_close(state.average.network.stem.weight.double(), expected, atol=1e-7, rtol=1e-6)
    assert not torch.equal(state.average.network.stem.weight, state.denoiser.network.stem.weight)


def test_power_averages_are_the_weighted_sums_of_all_weights_before():
    state, path = walk(steps=30, lr=1e-2, **POWER)
    for average in state.averages.members:
        edges = (torch.arange(31, dtype=torch.float64) / 30) ** (power_ema.exponent(average.length) + 1)
        expected = torch.einsum("s,s...->...", edges.diff(), torch.stack(path))
        torch.testing.assert_close(average.denoiser.network.stem.weight.double(), expected, atol=1e-6, rtol=0)
    short, long = (average.denoiser.network.stem.weight for average in state.averages.members)
    assert not torch.allclose(short, long, atol=1e-4)


@pytest.mark.parametrize(("length", "shown"), [(0.09, 0.1), (0.02, 0.05)])
def test_the_power_average_that_is_shown_is_the_one_nearest_to_the_length_asked_for(length: float, shown: float):
    averages = ema.Averages.of(model().denoiser, train_params(ema="power", ema_length=length))
    assert averages.members[0].length == shown
    assert {average.length for average in averages.members} == {0.05, 0.1}


@pytest.mark.parametrize("kind", [CONSTANT, POWER])
def test_a_snapshot_is_what_a_training_that_ends_there_would_leave(tmp_path: Path, kind: dict[str, object]):
    params = train_params(schedule="constant", warmup_share=0.0, **kind)
    run_fit(tmp_path / "whole", params=params)
    run_fit(tmp_path / "half", params=params.model_copy(update={"steps": 6, "snapshots": 2}))
    whole, half = (contents(CheckpointFolder(tmp_path / name).snapshots) for name in ("whole", "half"))
    assert set(whole) == {snapshot.file for snapshot in planned(params)}
    assert half.items() < whole.items()


@pytest.mark.parametrize("call", [1, 2])
def test_a_training_killed_and_resumed_leaves_the_same_averages_and_snapshots(tmp_path: Path, call: int):
    # Three, so that a snapshot falls on each checkpoint.
    params = train_params(**POWER | {"snapshots": 3})
    whole, curves = run_fit(tmp_path / "whole", params=params)
    with pytest.raises(KilledError):
        run_fit(tmp_path / "killed", params=params, log=Killer(call))
    resumed, resumed_curves = run_fit(tmp_path / "killed", params=params)
    assert weights(resumed) == weights(whole)
    assert resumed_curves.rows == curves.rows
    assert contents(CheckpointFolder(tmp_path / "killed").snapshots) == contents(
        CheckpointFolder(tmp_path / "whole").snapshots
    )


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"spoilt")])
def test_a_checkpoint_whose_snapshots_are_gone_or_spoilt_is_passed_over(tmp_path: Path, spoil):
    params = train_params(**CONSTANT)
    whole, _ = run_fit(tmp_path / "whole", params=params)
    with pytest.raises(KilledError):
        run_fit(tmp_path / "killed", params=params, log=Killer(2))
    killed = CheckpointFolder(tmp_path / "killed").snapshots
    # Listed by the checkpoint after step 8, not yet by that after step 4.
    spoil(killed / "step-00000006.safetensors")
    resumed, _ = run_fit(tmp_path / "killed", params=params)
    assert weights(resumed) == weights(whole)
    assert contents(killed) == contents(CheckpointFolder(tmp_path / "whole").snapshots)


def test_a_run_that_is_done_leaves_no_snapshots_in_its_state(tmp_path: Path):
    run_fit(tmp_path, params=train_params(**POWER))
    checkpoints = CheckpointFolder(tmp_path)
    (checkpoints.snapshots / ".7.step-00000003.safetensors").write_bytes(b"half")
    with checkpoints.locked():
        assert not [name for name in contents(checkpoints.snapshots) if name.startswith(".")]
        checkpoints.clear()
    assert not tmp_path.exists()


def test_snapshots_change_no_weight(tmp_path: Path):
    with_them, curves = run_fit(tmp_path / "with", params=train_params(**CONSTANT))
    without, plain = run_fit(tmp_path / "without", params=train_params(snapshots=0))
    assert weights(with_them) == weights(without)
    assert curves.rows == plain.rows
    assert not CheckpointFolder(tmp_path / "without").snapshots.exists()


def test_intervals_of_the_runtime_change_no_snapshot(tmp_path: Path):
    params = train_params(**POWER)
    for every in (1, 1000):
        run_fit(tmp_path / str(every), params=params, runtime=runtime_params(checkpoint_every=every))
    assert contents(tmp_path / "1" / "snapshots") == contents(tmp_path / "1000" / "snapshots")
