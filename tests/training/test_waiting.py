"""Between two pauses nobody waits for the device: no value is read, and what is sent is sent without waiting.

A device without values, torch's "meta", stands for the GPU: to read one there is an error.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from rediffuse import yaml12
from rediffuse.model import Model, build_model, describe
from rediffuse.params import Params
from rediffuse.presets import PRESETS, expand
from rediffuse.randomness import seeded_global
from rediffuse.runtime import start
from rediffuse.samplers import SAMPLERS, NoiseKey, trajectory
from rediffuse.sampling import Sampling
from rediffuse.training import trainer
from rediffuse.training.batches import Batches
from rediffuse.training.curves import Curves
from rediffuse.training.order import Order
from rediffuse.training.pauses import Pauses
from rediffuse.training.resident import Resident
from rediffuse.training.trainer import TrainingState, train
from tests.training.test_training import Recorder, runtime_params

META = torch.device("meta")
DOCUMENT = yaml12.load(Path(__file__).parents[2] / "params.yaml")
STEPS = 3
# Small, because that device takes a millisecond for every function.
SMALL = {"width": 4, "multipliers": [1], "blocks": 1, "attention_sizes": [8], "groups": 2, "head_channels": 4}


class _Sendings(TorchDispatchMode):
    """Refuses a copy to the device that waits."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.ops.aten._to_copy.default:
            waits = not args[0].is_meta and kwargs.get("device") == META and not kwargs.get("non_blocking")
            assert not waits, "a tensor of the CPU is sent, and waited for"
        if func is torch.ops.aten.copy_.default:
            assert args[0].is_meta == args[1].is_meta or len(args) > 2, "a tensor is copied, and waited for"
        return func(*args, **kwargs)


class _Numbers(TorchFunctionMode):
    """Refuses a tensor that is made of Python's numbers on the device, where the copy is hidden."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        made = func in (torch.tensor, torch.as_tensor) and torch.device(kwargs.get("device") or "cpu") == META
        assert not made, "numbers are sent, and waited for"
        return func(*args, **kwargs)


@contextmanager
def unread() -> Iterator[None]:
    """What is done in the block reads no value of the device and waits for no copy."""
    with _Sendings(), _Numbers():
        yield


def params(preset: str, network: str = "unet", **sample: object) -> Params:
    small = {
        "model": {
            **DOCUMENT["model"],
            "name": network,
            "unet": {
                **DOCUMENT["model"]["unet"],
                **SMALL,
            },
            "article_unet": {"width": 4, "time_channels": 8},
        },
        "diffusion": {**DOCUMENT["diffusion"], "preset": preset},
        "train": {
            **DOCUMENT["train"],
            **{
                "steps": 8,
                "batch_size": 8,
                "microbatch": 4 if preset == "edm" else 8,
                "ema_start": 2,
                "ema": "power",
                "snapshots": 2,
            },
            **{"horizontal_flip": True, "guard": {"non_finite": "skip", "spike": 3.0, "on_spike": "skip"}},
        },
        "sample": {**DOCUMENT["sample"], "batch_size": 4, **sample},
    }
    return Params.model_validate(expand({**DOCUMENT, **small}))


def new_model(settings: Params, device: torch.device) -> Model:
    description = describe(settings.model, settings.diffusion, shape=(1, 8, 8), classes=["a", "b"], sigma_data=0.7)
    with seeded_global(0, "test"):
        return build_model(description, device)


class Optimizer:
    """Stands for torch's fused one, which has no kernel for that device."""

    def __init__(self, trained: torch.nn.Module) -> None:
        self.param_groups = [{"params": list(trained.parameters())}]
        self.zero_grad = trained.zero_grad

    def step(self) -> None:
        pass


@pytest.fixture
def no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the device without values lacks: generators, autocast and a fused optimizer."""
    monkeypatch.setattr(trainer, "generator", lambda *_: None)
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    monkeypatch.setattr(trainer, "new_optimizer", lambda trained, _: Optimizer(trained))


def stream_of(examples) -> SimpleNamespace:
    return SimpleNamespace(stream=lambda *_: nullcontext(iter(lambda: examples, None)))


@pytest.mark.usefixtures("no_device")
@pytest.mark.parametrize(("preset", "network"), [*((each, "unet") for each in PRESETS), ("edm", "article_unet")])
def test_a_step_and_what_is_noted_of_it_read_nothing_of_the_device(preset: str, network: str):
    settings = params(preset, network)
    ours = new_model(settings, META)
    if preset == "vp_sde":
        settings = settings.model_copy(update={"train": settings.train.model_copy(update={"ema": "constant"})})
    state = TrainingState.new(ours, settings.train)
    pauses = Pauses(
        state,
        Curves(),
        params=settings.train,
        runtime=runtime_params(checkpoint_every=100, checkpoint_seconds=1e9),
        description={},
        validate=None,
        batch_ids=None,
        writer=None,
        refused=None,
        log=Recorder(),
        preview=None,
    )
    count = settings.train.microbatch
    examples = (torch.zeros(count, 1, 8, 8, device=META), torch.zeros(count, dtype=torch.int64, device=META))
    steps = train(state, ours, batches=stream_of(examples), params=settings.train, seed=0)
    # The first step of a process sends the tables of the coefficients.
    next(steps)
    with unread():
        pauses.note(next(steps))
        pauses.pause(lambda: None)
    assert state.step == 2
    with pytest.raises((RuntimeError, NotImplementedError)):
        state.guard.refusals()


@pytest.mark.usefixtures("no_device")
@pytest.mark.parametrize("name", sorted(SAMPLERS.keys() - {"ode"}))
def test_a_sampler_reads_nothing_of_the_device(name: str):
    """But the adaptive solver, whose steps depend on its errors."""
    preset = "ncsn" if name == "annealed_langevin" else "vp_sde" if name == "euler_maruyama" else "edm"
    corrected = name in ("ancestral", "reverse_diffusion")
    settings = params(
        preset,
        **{"sampler": name, "grid": "uniform", "steps": STEPS, "eta": 0.5 if name == "ddim" else None},
        **{"churn": 3.0 if name == "heun" else 0.0, "corrector_steps": 1 if corrected else None, "langevin_steps": 2},
        **{"guidance": 2.0, "guidance_levels": [0.1, 10.0], "threshold": "static" if corrected else "dynamic"},
    )
    ours = new_model(settings, META)
    ours.denoiser.eval()
    sampling = Sampling.of(ours, settings.sample, META)

    def drawn() -> int:
        steps = trajectory(
            sampling.denoiser,
            ours.process,
            sampling.sampler,
            sampling.times,
            shape=ours.shape,
            labels=torch.zeros(4, dtype=torch.int64),
            keys=[NoiseKey(0, index) for index in range(4)],
            device=META,
        )
        return len(list(steps))

    drawn()
    with unread():
        assert drawn() == STEPS + 1


def test_a_split_on_the_device_is_sent_once_and_its_order_once_a_pass():
    order = Order(seed=0, count=40, batch_size=8, microbatch=8)
    held = Resident(np.zeros((40, 1, 4, 4), np.uint8), np.zeros(40, np.int64), order, META)
    held.read(0, 0)
    with unread():
        for step in range(1, 5):
            held.read(step, 0)
    with unread(), pytest.raises(AssertionError, match="is sent"):
        held.read(5, 0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("kept", [True, False])
def test_cuda_itself_sees_nobody_wait(preset: str, kept: bool):
    device = start(runtime_params(device="cuda"))
    settings = params(
        preset, **{} if preset == "flow" else {"steps": 6, "guidance": 2.0, "guidance_levels": [0.1, 9.0]}
    )
    ours = new_model(settings, device)
    state = TrainingState.new(ours, settings.train)
    batches = Batches(
        np.zeros((20, 1, 8, 8), np.uint8),
        np.zeros(20, np.int64),
        seed=0,
        batch_size=8,
        microbatch=4,
        device=device,
        resident=kept,
    )
    steps = train(state, ours, batches=batches, params=settings.train, seed=0)
    sampling = Sampling.of(ours, settings.sample, device)
    next(steps)
    next(sampling.images(np.zeros(4, int)))
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(4):
            next(steps)
        if preset != "flow":
            # The third batch is told before the second is fetched, which waits for an event, not for the device.
            ours.denoiser.eval()
            assert sum(map(len, sampling.images(np.zeros(12, int)))) == 12
    finally:
        torch.cuda.set_sync_debug_mode("default")
