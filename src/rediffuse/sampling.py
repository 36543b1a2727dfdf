"""Samples of a trained model, by the section `sample` of params.yaml."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from rediffuse.diffusion import (
    Autoguidance,
    ClassifierFreeGuidance,
    Composition,
    Denoiser,
    DynamicThreshold,
    GuidedLevels,
    NetworkDenoiser,
    Process,
    StaticThreshold,
    noise_to_signal,
)
from rediffuse.errors import UserError
from rediffuse.model import Model
from rediffuse.networks import Condition
from rediffuse.params import SampleParams
from rediffuse.processes import Processes
from rediffuse.samplers import (
    GRIDS,
    Between,
    NoiseKey,
    Sampler,
    SamplerSettings,
    Step,
    build_sampler,
    generate,
    to_uint8,
    trajectory,
)


@dataclass
class Counted:
    """A denoiser that counts the images it has seen.

    Args:
        denoiser: any.
        images: so many.
        passes: in so many batches.
    """

    denoiser: Denoiser
    images: int = 0
    passes: int = 0

    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """As the denoiser."""
        self.images += len(x_t)
        self.passes += 1
        return self.denoiser(x_t, t, condition)


@dataclass(frozen=True)
class Sampling:
    """A model with a way to sample it.

    Args:
        model: what is sampled.
        params: how.
        denoiser: its denoiser, or another of the same shape, with guidance and thresholds.
        networks: what is counted: the denoisers without them.
        sampler: the method.
        times: the grid it follows.
        seed: image i is a function of (seed, i) and the denoiser.
        batch_size: of every forward pass.
        device: where the denoiser runs.
        temperature: standard deviation of the initial noise as a share of the prior's.
    """

    model: Model
    params: SampleParams
    denoiser: Denoiser
    networks: tuple[Counted, ...]
    sampler: Sampler
    times: Tensor
    seed: int
    batch_size: int
    device: torch.device
    temperature: float

    @classmethod
    def of(
        cls,
        model: Model,
        params: SampleParams,
        device: torch.device,
        *,
        denoiser: NetworkDenoiser | None = None,
        reference: NetworkDenoiser | None = None,
    ) -> "Sampling":
        """The sampling that the parameters ask for.

        Args:
            model: its process, shape and classes; its denoiser, unless another is given.
            params: the section `sample`.
            device: where the denoiser runs.
            denoiser: other weights of the same network.
            reference: the earlier model for autoguidance.

        Raises:
            UserError: guidance by labels for a model without them, or more steps than its process has.
            ValueError: guidance by a snapshot without a reference.
        """
        if params.guidance != 1 and params.guidance_reference == "label" and not model.classes:
            raise UserError(
                f"params.yaml: sample.guidance is {params.guidance}, but the data has no labels to guide to; use 1"
            )
        try:
            times = GRIDS[params.grid](model.process, params.steps)
        except ValueError as error:
            raise UserError(f"params.yaml: sample.steps with sample.grid {params.grid} asks for {error}") from None
        own = {field.name: getattr(params, field.name) for field in fields(SamplerSettings)}
        networks = tuple(Counted(each) for each in (denoiser or model.denoiser, reference) if each)
        return cls(
            model=model,
            params=params,
            denoiser=_thresholded(_guided(networks, model, params), params),
            networks=networks,
            sampler=build_sampler(params.sampler, SamplerSettings(**own)),
            times=times,
            seed=params.seed,
            batch_size=params.batch_size,
            device=device,
            temperature=params.temperature,
        )

    @property
    def evaluations(self) -> int:
        """Images that the networks have seen."""
        return sum(network.images for network in self.networks)

    @property
    def passes(self) -> int:
        """Batches that the networks have seen; guidance by labels makes one of two."""
        return sum(network.passes for network in self.networks)

    def drawn(
        self, labels: np.ndarray, processes: Processes, seen: Callable[[int], object] = lambda _: None
    ) -> tuple[np.ndarray, float] | None:
        """All images that `shared_images` yields, and the evaluations that each took; None but on the first process.

        Args:
            seen: told of each batch how many images it holds.
        """
        before, batches = self.evaluations, []
        for batch in self.shared_images(labels, processes):
            batches.append(batch)
            seen(len(batch))
        evaluated = processes.gather(self.evaluations - before)
        if evaluated is None:
            return None
        return np.concatenate(batches), sum(evaluated) / (len(batches) * self.batch_size)

    def images(self, labels: np.ndarray) -> Iterator[np.ndarray]:
        """The images 0 ... N-1 for N labels (-1: none) in batches, uint8, each at most batch_size×C×H×W."""
        return self._batches(labels, range(0, len(labels), self.batch_size))

    def shared_images(self, labels: np.ndarray, processes: Processes) -> Iterator[np.ndarray]:
        """As `images`, computed by all processes; the first one gets them all, the others none.

        Each batch is computed by one process as one process alone would do it, so its bytes are the same.
        """
        starts = range(0, len(labels), self.batch_size)
        mine = self._batches(labels, starts[processes.rank :: processes.count])
        for _ in range(0, len(starts), processes.count):
            # The last round may have no work for some.
            for batch in processes.gather(next(mine, None)) or []:
                if batch is not None:
                    yield batch

    def _batches(self, labels: np.ndarray, starts: Sequence[int]) -> Iterator[np.ndarray]:
        """The batches that begin with these images."""
        batches = generate(
            self.denoiser,
            self.model.process,
            self.sampler,
            self.times,
            shape=self.model.shape,
            labels=labels.tolist() if self.model.classes else None,
            count=len(labels),
            starts=starts,
            seed=self.seed,
            batch_size=self.batch_size,
            device=self.device,
            temperature=self.temperature,
        )
        return (batch.numpy() for batch in batches)

    def chosen(self, labels: np.ndarray, indices: Sequence[int]) -> np.ndarray:
        """The images of these indices, uint8, len(indices)×C×H×W, each as `images` gives it.

        Args:
            labels: of each of them.
            indices: any, in any order.
        """
        parts = []
        for start in range(0, len(indices), self.batch_size):
            rows = slice(start, start + self.batch_size)
            keys = [NoiseKey(self.seed, index) for index in indices[rows]]
            last = deque(self.steps(labels[rows], keys), maxlen=1).pop()
            parts.append(to_uint8(last.x[: len(keys)]).cpu().numpy())
        return np.concatenate(parts)

    def steps(self, labels: np.ndarray, keys: Sequence[NoiseKey | Between]) -> Iterator[Step]:
        """Some images on their way from noise, at most batch_size of them, in a batch of that size.

        Args:
            labels: of each of them; -1: none.
            keys: of their noise.
        """
        # Any image may stand in the padding: nobody sees it.
        padding = self.batch_size - len(keys)
        return trajectory(
            self.denoiser,
            self.model.process,
            self.sampler,
            self.times,
            shape=self.model.shape,
            labels=torch.tensor([*labels, *[labels[0]] * padding]) if self.model.classes else None,
            keys=[*keys, *[keys[0]] * padding],
            device=self.device,
            temperature=self.temperature,
        )

    def composed(self, labels: np.ndarray, weights: np.ndarray) -> "Sampling":
        """The same sampling of one batch whose images are each drawn towards several classes, or away from them.

        Args:
            labels, weights: N×K for N images, at most batch_size; see `diffusion.Composition`.
        """
        padding = [(0, self.batch_size - len(labels)), (0, 0)]
        columns = torch.from_numpy(np.pad(labels, padding, mode="edge").T.copy()).to(self.device)
        shares = torch.from_numpy(np.pad(weights, padding, mode="edge").T.astype(np.float32)).to(self.device)
        conditions = [Condition(labels=column) for column in columns]
        own, *references = (Composition(network, conditions, list(shares)) for network in self.networks)
        params = self.params
        levels = _guided_levels(self.model, params)
        guided: Denoiser = replace(own, scale=params.guidance, levels=levels)
        if references and params.guidance != 1:
            guided = Autoguidance(own, references[0], params.guidance, levels)
        return replace(self, denoiser=_thresholded(guided, params))

    def film(self, labels: np.ndarray, indices: Sequence[int], frames: int) -> tuple[list[np.ndarray], list[float]]:
        """Some images on their way from noise, scaled to unit variance at each moment.

        Args:
            labels: the labels of the images of `indices`, at most batch_size of them.
            frames: moments to show, at most; the prior and the result among them, and those between spread evenly in
                the angle atan(noise-to-signal), because most steps are spent where nothing is to be seen.

        Returns:
            the frames, each len(indices)×C×H×W, uint8, and the noise-to-signal of each.
        """
        steps = list(self.steps(labels, [NoiseKey(self.seed, index) for index in indices]))
        process = self.model.process
        t = torch.tensor([step.t for step in steps], dtype=torch.float64)
        places = spread_frames(noise_to_signal(process, t), frames)
        pictures = [unit_variance(process, steps[place])[: len(indices)].cpu().numpy() for place in places]
        return pictures, [float(noise_to_signal(process, t[place])) for place in places]


def spread_frames(levels: Tensor, frames: int) -> list[int]:
    """Which of some moments of a way from noise to show, at most `frames` of them, the first and the last among them.

    Args:
        levels: the noise-to-signal ratio of each.
    """
    angles = torch.atan(levels)
    wanted = torch.linspace(float(angles[0]), 0, frames, dtype=torch.float64)
    return sorted({int((angles - angle).abs().argmin()) for angle in wanted})


def unit_variance(process: Process, step: Step) -> Tensor:
    """The images of a step as a picture, B×C×H×W, uint8: divided by the root of alpha² + sigma²."""
    t = torch.tensor(step.t, dtype=torch.float64)
    return to_uint8(step.x / float((process.alpha(t) ** 2 + process.sigma(t) ** 2).sqrt()))


def _guided(networks: Sequence[Denoiser], model: Model, params: SampleParams) -> Denoiser:
    denoiser, *references = networks
    if params.guidance == 1:
        return denoiser
    levels = _guided_levels(model, params)
    if params.guidance_reference == "label":
        return ClassifierFreeGuidance(denoiser, params.guidance, levels)
    if not references:
        raise ValueError("guidance by a snapshot needs the snapshot as its reference")
    return Autoguidance(denoiser, references[0], params.guidance, levels)


def _guided_levels(model: Model, params: SampleParams) -> GuidedLevels | None:
    return GuidedLevels(model.process, *params.guidance_levels) if params.guidance_levels else None


def _thresholded(denoiser: Denoiser, params: SampleParams) -> Denoiser:
    if params.threshold == "static":
        return StaticThreshold(denoiser)
    return DynamicThreshold(denoiser, params.threshold_quantile) if params.threshold == "dynamic" else denoiser


def preview_params(params: SampleParams, count: int) -> SampleParams:
    """The section `sample` for a look at `count` images while a model trains: 20 evaluations, whatever its own sampler.

    Some samplers take minutes. Guidance by an earlier snapshot is off: there may be none yet.
    """
    quick = {"sampler": "dpmpp_2m", "grid": "karras", "steps": 20, "batch_size": count}
    off = {"guidance": 1.0} if params.guidance_reference == "snapshot" else {}
    plain = {"eta": 0.0, "variance": "posterior", "churn": 0.0, "corrector_steps": 0}
    return params.model_copy(update=quick | off | plain)


def class_mix(count: int, classes: Sequence[str], weights: Mapping[str, float] | None) -> np.ndarray:
    """The labels of images 0 ... count-1: any first n of them hold the classes in their shares, as near as n allows.

    Args:
        classes: the model's class names; empty for a model without, whose labels are all -1.
        weights: share of each class, in any unit; None: every class alike.

    Raises:
        UserError: a name that is none of the classes.
    """
    if weights and (unknown := [name for name in weights if name not in classes]):
        allowed = ", ".join(classes) or "none, the data has no labels"
        raise UserError(f"params.yaml: sample.classes names {unknown[0]!r}; the classes are {allowed}")
    if not classes:
        return np.full(count, -1, np.int64)
    shares = np.array([weights.get(name, 0.0) if weights else 1.0 for name in classes])
    shares = shares / shares.sum()
    # Each image goes to the class that is furthest behind its share; label i depends on i alone.
    given, labels = np.zeros(len(classes)), np.empty(count, np.int64)
    for i in range(count):
        behind = np.where(shares > 0, (i + 1) * shares - given, -np.inf)
        labels[i] = int(np.argmax(behind.round(9)))
        given[labels[i]] += 1
    return labels
