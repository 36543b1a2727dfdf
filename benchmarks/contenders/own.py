"""rediffuse itself: the model, loop and sampler of the stages `train` and `sample`, by params.yaml, without a stage."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from torch import nn

# Imported before CUDA starts, it tells cuBLAS to keep the workspace that deterministic products need.
import rediffuse.runtime  # noqa: F401
from benchmarks.contenders import Task
from benchmarks.contenders.framing import batches
from benchmarks.contenders.planning import UNLIMITED, finish, steps_within
from benchmarks.contenders.sizes import META, flops, nearest_width, weights
from benchmarks.turns import REPEATABLE
from rediffuse import yaml12
from rediffuse.acceleration import accelerate, native_bf16, profile
from rediffuse.model import build_model, describe
from rediffuse.networks import Condition, build_network
from rediffuse.params import ModelParams, Params, SampleParams, TrainParams
from rediffuse.presets import expand
from rediffuse.randomness import seeded_global
from rediffuse.sampling import Sampling, preview_params
from rediffuse.training.batches import Batches
from rediffuse.training.tensors import restore, tensors_of
from rediffuse.training.trainer import StepResult, TrainingState, learning_rate, train

ROOT = Path(__file__).parents[2]
SIZES = {"tiny": 16, "small": 31, "base": 1 << 30}
"""Up to which height of its images each `model.size` is taken."""


class Rediffuse:
    """See `Contender`.

    Args:
        task: what to train on.
        changes: to params.yaml, {"train.lr": 1e-3, ...}.
        deterministic: torch's deterministic kernels, as every stage has them; False: to see what they cost.
    """

    name = "rediffuse"

    def __init__(self, task: Task, changes: Mapping[str, Any] | None = None, *, deterministic: bool = True) -> None:
        self.task = task
        # Put back for the peers, whose own they are not.
        self._switches = replace(REPEATABLE, deterministic=deterministic)
        channels, height, width = task.images.shape[1:]
        self._shape = (channels, height, width)
        params = params_of(_defaults(height) | dict(changes or {}))
        self._sample = preview_params(params.sample, batches(1))
        model = _sized(params.model, self._shape, task)
        description = describe(
            model,
            params.diffusion,
            shape=self._shape,
            classes=[str(label) for label in range(task.classes)],
            sigma_data=_deviation(task.images),
        )
        with self._switches.held():
            with seeded_global(task.seed, "train/weights"):
                self._model = build_model(description, task.device)
            how = profile(params.runtime, task.device)
            accelerate(self._model.denoiser.network, how)
            planned = _planned(params.train, task.batch_size, UNLIMITED)
            self._state = TrainingState.new(self._model, planned)
            self._state.denoiser.train()
            self._batches = Batches(
                task.images,
                task.labels if task.classes else None,
                seed=task.seed,
                batch_size=task.batch_size,
                microbatch=task.batch_size,
                device=task.device,
            )
        self._running = self._steps(planned)
        if task.seconds:
            new = {name: tensor.clone() for name, tensor in tensors_of(self._state)}
            steps = steps_within(task.seconds, self.train)
            restore(self._state, new)
            self._state.step = 0
            planned = _planned(params.train, task.batch_size, steps)
            self._state.averages = self._state.averages.of(self._state.denoiser, planned)
            self._running = self._steps(planned)
        self._network = (model.name, description["network"]["settings"])
        self.parameters = weights(self._model.denoiser)
        # Guidance that is on at some noise levels only takes fewer: counted when images are drawn.
        self.evaluations = self._sample.steps * (2 if self._sample.guidance != 1 else 1)
        half = model.precision == "bf16" or (model.precision == "auto" and native_bf16(task.device))
        self.setting = (
            f"{model.name} {model.settings.model_dump(mode='json')}, {'bf16' if half else 'fp32'}, {how.name}, "
            f"preset {params.diffusion.preset}, AdamW {planned.lr:g} {planned.schedule} over {planned.steps} steps, "
            f"EMA {planned.ema}, {'' if deterministic else 'not '}deterministic, "
            f"{self._sample.sampler} on {self._sample.grid}, {self._sample.steps} steps, "
            f"guidance {self._sample.guidance:g} at levels {self._sample.guidance_levels or 'all'}"
        )

    def train(self, steps: int) -> None:
        """See `Contender`."""
        with self._switches.held():
            for _ in range(steps):
                next(self._running)
            finish(self.task.device)

    def images(self, labels: np.ndarray, seed: int) -> np.ndarray:
        """See `Contender`; the same bytes for the same weights, labels and seed."""
        size = -(-len(labels) // batches(len(labels)))
        chosen = self._sample.model_copy(update={"seed": seed, "batch_size": size})
        sampling = Sampling.of(self._model, chosen, self.task.device, denoiser=self._state.average)
        with self._switches.held():
            drawn = list(sampling.images(labels))
        self.evaluations = round(sampling.evaluations / (len(drawn) * size))
        return np.concatenate(drawn)

    def sampling(self, params: SampleParams) -> Sampling:
        """Of its averaged weights, by other parameters."""
        return Sampling.of(self._model, params, self.task.device, denoiser=self._state.average)

    def flops(self) -> float:
        """See `Contender`."""
        name, settings = self._network

        def forward(network: nn.Module) -> object:
            labels = torch.zeros(1, dtype=torch.int64, device=META) if self.task.classes else None
            return network(torch.zeros(1, *self._shape), torch.zeros(1), Condition(labels=labels))

        return flops(lambda: build_network(name, self._shape, self.task.classes, settings), forward)

    def _steps(self, planned: TrainParams) -> Iterator[StepResult]:
        """The steps of the schedule, and then ever more at its last learning rate."""
        rest = {
            "steps": 10**9,
            "schedule": "constant",
            "warmup_share": 0.0,
            "lr": learning_rate(planned, planned.steps),
        }
        for params in (planned, planned.model_copy(update=rest)):
            yield from train(self._state, self._model, batches=self._batches, params=params, seed=self.task.seed)


def build(task: Task, **settings: Any) -> Rediffuse:
    """As params.yaml says, in the size for such images, but for settings of `Rediffuse`."""
    return Rediffuse(task, **settings)


def params_of(changes: Mapping[str, Any]) -> Params:
    """The repository's params.yaml with some values changed, by their dotted names."""
    document: dict[str, Any] = yaml12.load(ROOT / "params.yaml")
    for name, value in changes.items():
        *sections, key = name.split(".")
        place = document
        for section in sections:
            place = place[section]
        place[key] = value
    return Params.model_validate(expand(document))


def _defaults(height: int) -> dict[str, Any]:
    """The size of the model that is meant for images of that height."""
    fitting = next(size for size, largest in SIZES.items() if height <= largest)
    return {"model.size": fitting}


def _planned(params: TrainParams, batch_size: int, steps: int) -> TrainParams:
    """The section `train` for a training of that length."""
    # In a short training the average may not begin later, as a share of it, than after a sixth.
    start = min(params.ema_start, steps // 6)
    sizes = {"batch_size": batch_size, "microbatch": batch_size}
    return params.model_copy(update={"steps": steps, "ema_start": start, **sizes})


def _sized(model: ModelParams, shape: tuple[int, int, int], task: Task) -> ModelParams:
    """The section `model` with the width that gives about as many weights as were asked for."""
    if not task.parameters:
        return model

    def with_width(width: int) -> ModelParams:
        changed = {"width": width, "head_channels": math.gcd(width, 64)} if model.name == "unet" else {"width": width}
        settings = type(model.settings).model_validate(model.settings.model_dump() | changed)
        return model.model_copy(update={model.name: settings})

    def allowed(width: int) -> bool:
        try:
            with_width(width)
        except ValidationError:
            return False
        return True

    def network(width: int) -> nn.Module:
        settings = with_width(width).settings.model_dump(mode="json")
        return build_network(model.name, shape, task.classes, settings)

    unit = 64 if task.device.type == "cuda" else 8
    return with_width(nearest_width(network, task.parameters, filter(allowed, count(unit, unit))))


def _deviation(images: np.ndarray) -> float:
    """The standard deviation of the pixels on [-1, 1]."""
    # bincount works on a copy in int64.
    parts = (images[start : start + 4096] for start in range(0, len(images), 4096))
    shares = np.sum([np.bincount(part.reshape(-1), minlength=256) for part in parts], axis=0) / images.size
    levels = np.arange(256) / 127.5 - 1
    return float(np.sqrt(shares @ (levels - shares @ levels) ** 2))
