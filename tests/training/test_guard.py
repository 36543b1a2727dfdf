"""Steps that are refused: what counts as one, what stays as it was, and what is told."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rediffuse.diffusion import DenoisingLoss, Edm, Uncertainty
from rediffuse.errors import UserError
from rediffuse.params import GuardParams
from rediffuse.training.batches import Batches
from rediffuse.training.checkpoint import CheckpointFolder
from rediffuse.training.curves import Curves
from rediffuse.training.guard import IN_A_ROW, SETTLED, SHARE, Guard
from rediffuse.training.pauses import Pauses
from rediffuse.training.sharding import Follower
from rediffuse.training.trainer import TrainingState
from tests.training.test_training import (
    CPU,
    KilledError,
    Killer,
    Recorder,
    examples,
    model,
    run_fit,
    runtime_params,
    train_params,
)

NAN, INF = float("nan"), float("inf")


def rules(**changes: object) -> GuardParams:
    return GuardParams(**({"non_finite": "stop", "spike": None, "on_spike": "skip"} | changes))


def judged(guard: Guard, losses: list[float], norms: list[float] | None = None) -> list[float]:
    pairs = zip(losses, norms or [1.0] * len(losses), strict=True)
    return [float(guard.judge(i + 1, torch.tensor(a), torch.tensor(b))) for i, (a, b) in enumerate(pairs)]


def test_what_is_no_number_is_refused_and_enters_no_mean():
    guard = Guard(rules(), CPU)
    assert judged(guard, [1.0, NAN, 3.0, 4.0, -INF, 5.0], [1.0, 1.0, INF, 1.0, 1.0, NAN]) == [0, 1, 1, 0, 1, 1]
    told = guard.refusals()
    assert [(each.step, each.row, each.usual) for each in told] == [(2, 1, 1.0), (3, 2, 1.0), (5, 1, 2.5), (6, 2, 2.5)]
    assert guard.refusals() == []
    assert guard.skipped == 4
    assert told[1].reason == "the loss is 3 and the norm of its gradient inf"


def test_a_spike_is_a_loss_above_so_many_times_the_mean_of_those_taken():
    guard = Guard(rules(spike=3.0), CPU)
    usual = [1.0, 3.0] * (SETTLED // 2)
    assert judged(guard, [100.0]) == [0]  # Nothing is known yet.
    guard = Guard(rules(spike=3.0), CPU)
    assert sum(judged(guard, usual)) == 0
    assert judged(guard, [5.9, 6.3, 7.0]) == [0, 1, 1]
    first, second = guard.refusals()
    mean = 2.0 + (5.9 - 2.0) / (SETTLED + 1)
    assert first.usual == second.usual == pytest.approx(mean, rel=1e-6)
    assert first.finite
    assert first.reason == f"the loss is 6.3, {6.3 / mean:.3g} times its running mean"


def test_a_loss_of_nothing_is_told_without_a_division():
    guard = Guard(rules(spike=3.0), CPU)
    judged(guard, [0.0] * SETTLED + [1.0])
    assert [each.reason for each in guard.refusals()] == ["the loss is 1, and its running mean 0"]


def test_the_running_mean_forgets_at_a_fixed_rate_in_the_end():
    guard = Guard(rules(spike=100.0), CPU)
    judged(guard, [1.0] * 500)
    judged(guard, [2.0])
    assert float(guard.memory[1]) == pytest.approx(1 + SHARE, rel=1e-6)


@pytest.mark.parametrize(
    ("guard", "finite", "row", "stops"),
    [
        ({"non_finite": "stop"}, False, 1, True),
        ({"non_finite": "skip"}, False, 1, False),
        ({"non_finite": "skip"}, False, IN_A_ROW, True),
        ({"on_spike": "skip"}, True, 1, False),
        ({"on_spike": "stop"}, True, 1, True),
    ],
)
def test_the_rules_say_whether_training_goes_on(guard: dict[str, str], finite: bool, row: int, stops: bool):
    ours = Guard(rules(spike=2.0, **guard), CPU)
    if finite:
        judged(ours, [1.0] * SETTLED)
    judged(ours, [9.0 if finite else NAN] * row)
    assert ours.stops(ours.refusals()[-1]) is stops


STEEP = 0.0
"""The factor of a loss that keeps its value, and has no finite gradient."""


class Spoilt(DenoisingLoss):
    """A loss times a factor in certain microbatches, counted from 0."""

    def __init__(self, factors: dict[int, float]) -> None:
        super().__init__(process=Edm(), prediction="edm", sigma_data=0.7)
        object.__setattr__(self, "factors", factors)
        object.__setattr__(self, "seen", [])

    def __call__(self, denoiser, x0, condition, noise, t):
        each = super().__call__(denoiser, x0, condition, noise, t)
        if denoiser.training:
            factor = self.factors.get(len(self.seen), 1.0)
            each = each + (each - each.detach()).sqrt() if factor == STEEP else each * factor
            self.seen.append(t)
        return each


def spoilt_fit(folder: Path, factors: dict[int, float], **changes):
    """Two microbatches a step: number 2·k is the first of step k + 1."""
    first = changes.pop("first", 0)
    loss = Spoilt({place - 2 * first: factor for place, factor in factors.items()})
    ours = replace(model(), loss=loss, uncertainty=changes.pop("uncertainty", None))
    guard = rules(**changes.pop("guard", {}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.training.test_training.model", lambda **_: ours)
        return run_fit(folder, params=train_params(guard=guard, **changes.pop("train", {})), **changes)


@pytest.mark.parametrize(
    ("factor", "reason"),
    [
        (NAN, "the loss is nan"),
        (INF, "the loss is inf"),
        (STEEP, r"the loss is [\d.]+ and the norm of its gradient nan"),
    ],
)
def test_a_loss_or_gradient_that_is_no_number_stops_before_the_step_and_names_its_images(
    tmp_path: Path, factor: float, reason: str
):
    """Case 48."""
    log = Recorder()
    with pytest.raises(UserError, match=f"training stops at step 6: {reason}"):
        spoilt_fit(tmp_path, {11: factor}, log=log)
    state = TrainingState.new(model(), train_params())
    CheckpointFolder(tmp_path).load(state)
    assert state.step == 4
    assert all(tensor.isfinite().all() for tensor in state.denoiser.state_dict().values())
    listed = json.loads((tmp_path / "refused" / "step-0000006.json").read_text())
    assert listed == log.documents["step-0000006"]
    batches = Batches(examples().images, None, seed=0, batch_size=8, microbatch=8, device=CPU)
    assert listed["ids"] == [examples().ids[row] for row in batches.rows(5, 0)]


def test_a_skipped_step_leaves_weights_and_moments_as_they_were(tmp_path: Path):
    def trained(factors: dict[int, float], steps: int) -> TrainingState:
        log = Recorder()
        state, _ = spoilt_fit(
            tmp_path / f"{len(factors)}-{steps}",
            factors,
            log=log,
            guard={"non_finite": "skip"},
            train={"steps": steps, "schedule": "constant", "warmup_share": 0.0, "ema_start": 0, "snapshots": 0},
        )
        assert len(log.documents) == len(factors)
        return state

    # Step 6 is the last and refused: all is as after step 5.
    skipped, before = trained({10: NAN}, 6), trained({}, 5)
    for ours, theirs in zip(skipped.trained.parameters(), before.trained.parameters(), strict=True):
        assert torch.equal(ours, theirs)
        moments, others = skipped.optimizer.state[ours], before.optimizer.state[theirs]
        assert all(torch.equal(moments[key], others[key]) for key in ("step", "exp_avg", "exp_avg_sq"))
    assert skipped.guard.skipped == 1


@pytest.mark.parametrize("microbatch", [4, 8])
def test_a_spike_is_seen_before_the_loss_is_balanced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, microbatch: int):
    """Balanced, the loss of a trained model is negative, and so above any number of times its mean."""
    monkeypatch.setattr("rediffuse.training.guard.SETTLED", 3)
    uncertainty, log = Uncertainty(Edm()), Recorder()
    with torch.no_grad():
        uncertainty.linear.bias.fill_(-9)
    state, curves = spoilt_fit(
        tmp_path,
        dict.fromkeys(range(24), 1e-4) | {18 if microbatch == 4 else 9: 6e-3},
        uncertainty=uncertainty,
        guard={"spike": 10.0},
        train={"log_every": 1, "lr": 1e-6, "microbatch": microbatch},
        log=log,
    )
    assert [row["step"] for row in curves.training if row["loss"] < -5] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12]
    assert list(log.documents) == ["step-0000010"]
    assert 0 < float(state.guard.memory[1]) < 1e-3


@pytest.mark.parametrize("kill", [1, 2])
@pytest.mark.parametrize(
    ("factors", "taken"),
    [
        ({3: NAN, 10: NAN, 18: INF}, [1, 3, 4, 5, 7, 8, 9, 11, 12]),
        ({6: 1e3, 14: 1e3, 18: STEEP}, [1, 2, 3, 5, 6, 7, 9, 11, 12]),
    ],
    ids=["no number", "spike"],
)
def test_a_training_with_skipped_steps_resumes_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill: int, factors: dict[int, float], taken: list[int]
):
    """Cases 48 and 49; a spike is known from the mean of the losses before it, also those before the kill."""
    monkeypatch.setattr("rediffuse.training.guard.SETTLED", 2)
    settings = {"guard": {"non_finite": "skip", "spike": 5.0}, "train": {"log_every": 1}}
    whole, curves = spoilt_fit(tmp_path / "whole", factors, **settings)
    with pytest.raises(KilledError):
        spoilt_fit(tmp_path / "killed", factors, log=Killer(kill), **settings)
    resumed, again = spoilt_fit(tmp_path / "killed", factors, first=4 * kill, **settings)
    assert again == curves
    assert torch.equal(resumed.guard.memory, whole.guard.memory)
    assert resumed.guard.skipped == 3
    for ours, theirs in zip(resumed.average.parameters(), whole.average.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    # The mean is over the steps taken: a step refused has no row of its own.
    assert [row["step"] for row in curves.training] == taken


def test_a_spike_stops_a_training_that_is_to_stop_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Case 49."""
    monkeypatch.setattr("rediffuse.training.guard.SETTLED", 2)
    log = Recorder()
    with pytest.raises(UserError, match=r"training stops at step 6: the loss is [\d.e+]+, [\d.e+]+ times its running"):
        spoilt_fit(tmp_path, {10: 1e3}, guard={"spike": 5.0, "on_spike": "stop"}, log=log)
    assert list(log.documents) == ["step-0000006"]
    state = TrainingState.new(model(), train_params())
    CheckpointFolder(tmp_path).load(state)
    assert (state.step, state.guard.skipped) == (4, 0)


def test_a_process_that_lists_no_images_names_no_list():
    state, params = TrainingState.new(model(), train_params()), train_params()
    state.step = 1
    state.guard.judge(1, torch.tensor(NAN), torch.tensor(1.0))
    pauses = Pauses(
        state,
        Curves(),
        params=params,
        runtime=runtime_params(),
        description={},
        validate=lambda *_: 0.0,
        batch_ids=lambda _: [],
        writer=Follower(needed=False),
        refused=None,
        log=Recorder(),
        preview=lambda _: b"",
    )
    with pytest.raises(UserError, match="the step was not taken and the last checkpoint before it is kept"):
        pauses.pause(lambda: None)


def test_ten_refusals_in_a_row_stop_a_training_that_skips(tmp_path: Path):
    with pytest.raises(UserError, match=rf"training stops at step {IN_A_ROW}:"):
        spoilt_fit(tmp_path, dict.fromkeys(range(40), NAN), guard={"non_finite": "skip"})
