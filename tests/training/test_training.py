"""The loop, its schedules, its batches, its checkpoints and its validation."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from rediffuse.data.dataset import Examples
from rediffuse.diffusion import SPREADS, DenoisingLoss, Edm, LogNormal, NetworkDenoiser
from rediffuse.model import Model
from rediffuse.networks import Condition, Unet
from rediffuse.params import RuntimeParams, TrainParams, load_params
from rediffuse.randomness import seeded_global
from rediffuse.runtime import start
from rediffuse.training.batches import Batches
from rediffuse.training.checkpoint import CheckpointFolder
from rediffuse.training.curves import Curves
from rediffuse.training.fingerprint import fingerprint
from rediffuse.training.fit import fit
from rediffuse.training.pauses import due
from rediffuse.training.schedule import SCHEDULES
from rediffuse.training.trainer import BETAS, TrainingState, train
from rediffuse.training.validation import held_out, loss_by_noise_level, validation_loss

CPU = torch.device("cpu")
PARAMS = load_params(Path(__file__).parents[2] / "params.yaml")


def train_params(**changes: object) -> TrainParams:
    small = {"steps": 12, "batch_size": 8, "microbatch": 4, "ema_start": 3, "log_every": 5, "validate_every": 6}
    return PARAMS.train.model_copy(update=small | changes)


def runtime_params(**changes: object) -> RuntimeParams:
    return PARAMS.runtime.model_copy(update={"checkpoint_every": 4, "preview_every": 0, "progress": False} | changes)


def model(dropout: float = 0.0, device: torch.device = CPU) -> Model:
    process = Edm()
    with seeded_global(0, "weights"):
        network = Unet((1, 8, 8), 3, width=8, multipliers=(1, 1), blocks=1, head_channels=4, groups=2, dropout=dropout)
    return Model(
        description={"classes": ["a", "b", "c"], "shape": [1, 8, 8]},
        denoiser=NetworkDenoiser(network, process, "edm", 0.7, torch.bfloat16 if device.type == "cuda" else None).to(
            device
        ),
        loss=DenoisingLoss(process=process, prediction="edm", sigma_data=0.7),
        noise_levels=LogNormal(process),
        spread=SPREADS["stratified"],
        uncertainty=None,
    )


def examples(count: int = 20) -> Examples:
    """Pictures of three brightnesses, with some noise."""
    labels = np.arange(count, dtype=np.int64) % 3
    noise = np.random.default_rng(0).integers(0, 50, (count, 1, 8, 8))
    return Examples(
        images=(noise + 100 * labels[:, None, None, None]).astype(np.uint8),
        labels=labels,
        ids=tuple(str(i) for i in range(count)),
    )


@dataclass
class Recorder:
    """A log that keeps what it is told."""

    curves: list[dict[str, float]] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    documents: dict[str, dict] = field(default_factory=dict)
    checkpoints: list[int] = field(default_factory=list)

    def log_curve(self, rows) -> None:
        self.curves += [dict(row) for row in rows]

    def log_timing(self, step: int, values) -> None:
        assert values["examples_per_second"] > 0
        self.checkpoints.append(step)

    def log_image(self, name: str, png: bytes) -> None:
        self.images.append(name)

    def log_document(self, name: str, value) -> None:
        self.documents[name] = value


def run_fit(
    folder: Path,
    *,
    params: TrainParams | None = None,
    runtime: RuntimeParams | None = None,
    log=None,
    preview=lambda denoiser: b"png",
    device: torch.device = CPU,
    **more,
):
    return fit(
        model(device=device, **more),
        examples(),
        examples(6),
        params=params or train_params(),
        runtime=runtime or runtime_params(),
        seed=0,
        device=device,
        checkpoints=CheckpointFolder(folder),
        log=log or Recorder(),
        preview=preview,
    )


def weights(state: TrainingState) -> bytes:
    modules = (state.denoiser, *(average.denoiser for average in state.averages.members))
    return b"".join(tensor.cpu().numpy().tobytes() for module in modules for tensor in module.state_dict().values())


class KilledError(Exception):
    """Stands for a kill -9: nothing after it runs."""


class Killer(Recorder):
    """A log where the process dies when the nth checkpoint has been handed to the writer."""

    def __init__(self, call: int) -> None:
        super().__init__()
        self.call = call

    def log_timing(self, step: int, values) -> None:
        self.call -= 1
        if self.call == 0:
            raise KilledError


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[float], tuple[TrainingState, Curves]]:
    """(dropout) -> the training that nothing interrupts, made once; tests look at it and leave it as it is."""
    return cache(lambda dropout: run_fit(tmp_path_factory.mktemp("undisturbed"), dropout=dropout))


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("call", [1, 2])
def test_a_killed_training_resumes_to_the_same_bytes(tmp_path: Path, undisturbed, call: int, dropout: float):
    whole, curves = undisturbed(dropout)
    with pytest.raises(KilledError):
        run_fit(tmp_path / "killed", log=Killer(call), dropout=dropout)
    # Whatever the global generator does meanwhile is no matter.
    torch.manual_seed(99)
    resumed, resumed_curves = run_fit(tmp_path / "killed", dropout=dropout)
    assert weights(resumed) == weights(whole)
    assert resumed_curves.rows == curves.rows


def test_a_resumed_training_does_not_start_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(KilledError):
        run_fit(tmp_path, log=Killer(2))
    steps = []
    load = Batches.load
    monkeypatch.setattr(Batches, "load", lambda self, step, index: steps.append(step) or load(self, step, index))
    run_fit(tmp_path)
    assert min(steps) == 8


@pytest.mark.parametrize(
    ("changes", "checkpoints"),
    [
        ({"checkpoint_every": 5}, [5, 10, 12]),
        ({"preview_every": 3}, [4, 8, 12]),
        ({"checkpoint_every": 1000}, [12]),
        # Each step takes longer than that.
        ({"checkpoint_every": 1000, "checkpoint_seconds": 1e-9}, list(range(1, 13))),
    ],
)
def test_intervals_of_the_runtime_change_no_byte(
    tmp_path: Path, undisturbed, changes: dict[str, float], checkpoints: list[int]
):
    plain, curves = undisturbed(0.0)
    log = Recorder()
    other, other_curves = run_fit(tmp_path / "other", runtime=runtime_params(**changes), log=log)
    assert log.checkpoints == checkpoints
    assert weights(other) == weights(plain)
    assert other_curves.rows == curves.rows


def test_previews_show_the_raw_and_the_averaged_weights(tmp_path: Path):
    log, shown = Recorder(), []
    state, _ = run_fit(
        tmp_path,
        log=log,
        runtime=runtime_params(preview_every=6),
        preview=lambda denoiser: shown.append((denoiser, denoiser.training)) or b"png",
    )
    assert log.images == [f"step-{step:07d}-{name}.png" for step in (6, 12) for name in ("raw", "ema")]
    assert shown == [(state.denoiser, False), (state.average, False)] * 2
    # And training goes on in the mode it was in.
    assert state.denoiser.training


def test_validation_is_of_the_raw_and_of_the_averaged_weights(tmp_path: Path):
    state, curves = run_fit(tmp_path)
    split, ours = examples(6), model()
    for name, denoiser in (("val_loss", state.denoiser.eval()), ("val_loss_ema", state.average)):
        again = validation_loss(denoiser, ours.loss, ours.noise_levels, split.images, split.labels, seed=0, device=CPU)
        assert curves.validation[-1][name] == again
    assert curves.validation[-1]["val_loss"] != curves.validation[-1]["val_loss_ema"]


def test_validation_looks_at_so_many_images_at_most_and_always_at_the_same(tmp_path: Path):
    state, curves = run_fit(tmp_path, params=train_params(validate_images=4))
    split, ours, seen = examples(6), model(), held_out(6, 4, seed=0)
    assert len(set(seen.tolist())) == 4
    again = validation_loss(
        state.average, ours.loss, ours.noise_levels, split.images[seen], split.labels[seen], seed=0, device=CPU
    )
    assert [row["val_loss_ema"] for row in curves.validation][-1] == again
    assert held_out(6, 6, seed=0).tolist() == list(range(6))


def test_the_learning_rate_of_each_step_is_the_schedules(tmp_path: Path):
    params = train_params(steps=12, schedule="cosine", warmup_share=0.5, lr=1e-3, log_every=1)
    state, curves = run_fit(tmp_path, params=params)
    expected = [1e-3 * SCHEDULES["cosine"](step, 12, 0.5) for step in range(12)]
    assert [row["lr"] for row in curves.training] == expected
    assert state.optimizer.param_groups[0]["lr"] == expected[-1]


def gradient_norms(**changes: object) -> list[float]:
    """The norm of the gradient that the optimizer sees in each step."""
    params, ours, norms = train_params(**changes), model(), []
    state = TrainingState.new(ours, params)
    state.optimizer.register_step_pre_hook(
        lambda *_: norms.append(float(nn.utils.get_total_norm([p.grad for p in ours.denoiser.parameters()])))
    )
    batches = Batches(examples().images, examples().labels, seed=0, batch_size=8, microbatch=4, device=CPU)
    for _ in train(state, ours, batches=batches, params=params, seed=0):
        pass
    return norms


def test_gradients_are_clipped_to_the_norm_asked_for():
    assert max(gradient_norms(grad_clip=1e6)) > 0.05
    assert max(gradient_norms(grad_clip=0.05)) == pytest.approx(0.05, rel=1e-4)


@pytest.mark.parametrize(("flip", "share"), [(False, 0.0), (True, 0.5)])
def test_half_of_the_images_are_mirrored_when_asked(flip: bool, share: float):
    params = train_params(steps=40, batch_size=8, microbatch=8, horizontal_flip=flip)
    ours = model()
    # Dark on the left, bright on the right.
    ramp = np.tile(np.linspace(0, 255, 8).astype(np.uint8), (20, 1, 8, 1))
    batches = Batches(ramp, examples().labels, seed=0, batch_size=8, microbatch=8, device=CPU)
    mirrored = []

    class Watching(DenoisingLoss):
        def __call__(self, denoiser, x0, condition, noise, t):
            mirrored.extend((x0[..., 0] > x0[..., -1]).flatten(1).all(1).tolist())
            return super().__call__(denoiser, x0, condition, noise, t)

    watched = replace(ours, loss=Watching(process=Edm(), prediction="edm", sigma_data=0.7))
    state = TrainingState.new(ours, params)
    for _ in train(state, watched, batches=batches, params=params, seed=0):
        pass
    assert sum(mirrored) / len(mirrored) == pytest.approx(share, abs=0.09 if flip else 0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_training_on_cuda_repeats_and_resumes_to_the_same_bytes(tmp_path: Path):
    device = start(runtime_params(device="cuda"))
    whole, _ = run_fit(tmp_path / "whole", device=device)
    again, _ = run_fit(tmp_path / "again", device=device)
    with pytest.raises(KilledError):
        run_fit(tmp_path / "killed", log=Killer(1), device=device)
    resumed, _ = run_fit(tmp_path / "killed", device=device)
    assert weights(whole) == weights(again) == weights(resumed)


def test_curves_have_a_point_each_interval_and_one_at_the_end(tmp_path: Path):
    log = Recorder()
    _, curves = run_fit(tmp_path, log=log)
    assert [row["step"] for row in curves.training] == [5, 10, 12]
    assert [row["step"] for row in curves.validation] == [6, 12]
    assert sorted(log.curves, key=str) == sorted(curves.rows, key=str)


def test_two_microbatches_are_one_batch_up_to_rounding():
    """The sum over microbatches is the gradient of the whole batch, though each draws its own noise."""
    params = train_params(steps=1, batch_size=8, microbatch=4)
    ours = model()
    state = TrainingState.new(ours, params)
    before = copy.deepcopy(ours.denoiser)
    batches = Batches(examples().images, examples().labels, seed=0, batch_size=8, microbatch=4, device=CPU)
    seen = []
    original = DenoisingLoss.__call__

    def spy(self, denoiser, x0, condition, noise, t):
        seen.append((x0, condition, noise, t))
        return original(self, denoiser, x0, condition, noise, t)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DenoisingLoss, "__call__", spy)
        result = next(train(state, ours, batches=batches, params=params, seed=0))
    x0, noise, t = (torch.cat([part[i] for part in seen]) for i in (0, 2, 3))
    condition = Condition(labels=torch.cat([part[1].labels for part in seen]))
    whole = ours.loss(before, x0, condition, noise, t).mean()
    assert result.loss.item() == pytest.approx(whole.item(), rel=1e-5)
    assert not torch.equal(seen[0][2], seen[1][2])


def test_labels_are_dropped_by_example_at_the_rate_asked_for():
    params = train_params(steps=60, batch_size=32, microbatch=32, label_drop=0.1)
    ours = model()
    state = TrainingState.new(ours, params)
    batches = Batches(examples().images, examples().labels, seed=0, batch_size=32, microbatch=32, device=CPU)
    dropped = []

    class Watching(DenoisingLoss):
        def __call__(self, denoiser, x0, condition, noise, t):
            dropped.append((condition.labels == -1).sum().item())
            return denoiser.network.head[2].weight.sum().expand(len(x0)) ** 2

    watched = replace(ours, loss=Watching(process=Edm(), prediction="edm", sigma_data=0.7))
    for _ in train(state, watched, batches=batches, params=params, seed=0):
        pass
    assert sum(dropped) / (60 * 32) == pytest.approx(0.1, abs=0.025)
    # Whole batches would give 0 or 32.
    assert 0 < max(dropped) < 16


def test_every_example_is_seen_once_a_pass_in_another_order():
    batches = Batches(examples(20).images, None, seed=0, batch_size=8, microbatch=4, device=CPU)
    rows = np.concatenate([batches.rows(step, index) for step in range(5) for index in range(2)])
    assert sorted(rows[:20]) == sorted(rows[20:]) == list(range(20))
    assert rows[:20].tolist() != rows[20:].tolist()
    again = Batches(examples(20).images, None, seed=0, batch_size=8, microbatch=4, device=CPU)
    assert again.rows(4, 1).tolist() == rows[-4:].tolist()


def test_a_split_smaller_than_a_batch_is_gone_through_several_times():
    batches = Batches(examples(3).images, None, seed=0, batch_size=10, microbatch=10, device=CPU)
    assert sorted(batches.rows(0, 0)[:9]) == [0, 0, 0, 1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("warmup", [0.1, 0.3])
def test_onecycle_is_torchs(warmup: float):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=2e-3, total_steps=200, pct_start=warmup, cycle_momentum=False
    )
    for step in range(200):
        ours = 2e-3 * SCHEDULES["onecycle"](step, 200, warmup)
        assert ours == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        if step < 199:
            theirs.step()


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("warmup", [0.0, 0.001, 0.5, 0.999])
@pytest.mark.parametrize("steps", [1, 2, 50])
def test_schedules_stay_between_nothing_and_their_peak(name: str, warmup: float, steps: int):
    values = [SCHEDULES[name](step, steps, warmup) for step in range(steps)]
    assert all(0 <= value <= 1 for value in values)
    assert max(values) > 0


def test_cosine_and_constant_warm_up_and_then_do_as_they_are_named():
    assert [SCHEDULES["constant"](step, 100, 0.1) for step in (0, 4, 9, 10, 99)] == [0.1, 0.5, 1, 1, 1]
    assert SCHEDULES["cosine"](10, 100, 0.1) == 1
    assert SCHEDULES["cosine"](55, 100, 0.1) == pytest.approx(0.5)


def test_validation_is_a_mean_over_the_examples():
    """A network of zeros that predicts x0 has the loss mean(x0²), however many examples there are."""

    class Zeros(nn.Module):
        def forward(self, x, c_noise, condition):
            return torch.zeros_like(x)

    denoiser = NetworkDenoiser(Zeros(), Edm(), "x0", 0.7)
    loss = DenoisingLoss(process=Edm(), prediction="x0", sigma_data=0.7)
    for count in (5, 300):
        split = examples(count)
        given = validation_loss(denoiser, loss, LogNormal(Edm()), split.images, split.labels, seed=0, device=CPU)
        pixels = split.images.astype(np.float64) / 127.5 - 1
        assert given == pytest.approx((pixels**2).mean(), rel=1e-5)


def test_loss_by_noise_level_is_the_loss_at_that_level():
    ours = model()
    split = examples(9)
    denoisers = {"": ours.denoiser, "_zero": lambda x_t, t, condition: torch.zeros_like(x_t)}
    rows = loss_by_noise_level(
        denoisers, ours.loss, ours.noise_levels, split.images, split.labels, levels=4, seed=0, device=CPU
    )
    assert list(rows[0]) == ["noise_to_signal", "loss", "loss_zero", "mse", "mse_zero"]
    levels = [row["noise_to_signal"] for row in rows]
    assert levels == sorted(levels)
    # A new network predicts 0, so that D = c_skip·x_t, and the error is known in the mean.
    for row in rows:
        level, data = row["noise_to_signal"], float(((split.images / 127.5 - 1) ** 2).mean())
        skip = 0.49 / (level**2 + 0.49)
        expected = (1 - skip) ** 2 * data + skip**2 * level**2
        assert row["mse"] == pytest.approx(expected, rel=0.15)
        for end in ("", "_zero"):
            weighted = row[f"mse{end}"] * (level**2 + 0.49) / (level**2 * 0.49)
            assert row[f"loss{end}"] == pytest.approx(weighted, rel=1e-4)
        assert row["mse_zero"] == pytest.approx(data, rel=1e-4)


def test_the_weights_learn(tmp_path: Path):
    _, curves = run_fit(tmp_path, params=train_params(steps=80, batch_size=16, microbatch=16, lr=5e-3, log_every=20))
    losses = [row["loss"] for row in curves.training]
    assert losses[-1] < 0.9 * losses[0]


def fresh() -> TrainingState:
    return TrainingState.new(model(), train_params())


def test_the_fingerprint_is_one_for_equal_parts_and_another_for_any_change():
    parts = {"train": {"lr": 1e-3}, "seed": 0}
    assert fingerprint(parts) == fingerprint(dict(reversed(parts.items())))
    changed = [parts | {"seed": 1}, parts | {"train": {"lr": 2e-3}}, parts | {"train": {}}, {"seed": 0}, {}]
    assert len({fingerprint(each) for each in [parts, *changed]}) == 6


def test_what_is_due_every_so_often_is_due_at_the_end():
    assert [step for step in range(1, 11) if due(step, 4, 10)] == [4, 8, 10]
    assert Curves().rows == []


def test_the_optimizer_is_the_one_documented():
    group = fresh().optimizer.param_groups[0]
    assert (group["betas"], group["weight_decay"]) == (BETAS, 0.001)
