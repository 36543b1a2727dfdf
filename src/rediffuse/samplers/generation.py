"""Any number of images, each a function of (seed, its index) and the model alone.

Image i draws from a generator of its own, and the network always runs on batches of one size, the last one padded: a
forward pass of another batch size differs in its last bits, and then an image would depend on how many are asked for.
"""

from collections import deque
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from rediffuse.diffusion.denoiser import Denoiser
from rediffuse.diffusion.process import Process
from rediffuse.networks import Condition
from rediffuse.randomness import generator
from rediffuse.samplers.step import Sampler, Step

STREAM = "sample"


# Not inference mode, whose tensors FSDP2 can't put together.
@torch.no_grad()
def trajectory(
    denoiser: Denoiser,
    process: Process,
    sampler: Sampler,
    times: Tensor,
    *,
    shape: Sequence[int],
    labels: Tensor | None,
    indices: Sequence[int],
    seed: int,
    device: torch.device,
    temperature: float = 1.0,
) -> Iterator[Step]:
    """Sample the images of `indices` as one batch, and yield each step, the prior first.

    Args:
        denoiser, process, sampler, times: see `samplers.step`.
        shape: (channels, height, width).
        labels: B class indices, or None for a model without.
        indices: B indices; image i's noise is drawn by the key (seed, i), on the CPU, so that it is the same on all
            devices.
        seed: any integer.
        device: where the denoiser runs.
        temperature: standard deviation of the initial noise as a share of the prior's.
    """
    generators = [generator(seed, STREAM, index=index) for index in indices]

    def noise() -> Tensor:
        return torch.stack([torch.randn(*shape, generator=each) for each in generators]).to(device)

    x = noise() * float(temperature * process.sigma(times[:1]))
    yield Step(t=float(times[0]), x=x, denoised=torch.zeros_like(x))
    condition = Condition(labels=None if labels is None else labels.to(device))
    yield from sampler(denoiser, process, times, x, condition, noise)


def generate(
    denoiser: Denoiser,
    process: Process,
    sampler: Sampler,
    times: Tensor,
    *,
    shape: Sequence[int],
    labels: Sequence[int] | None,
    count: int,
    seed: int,
    batch_size: int,
    device: torch.device,
    temperature: float = 1.0,
    starts: Sequence[int] | None = None,
) -> Iterator[Tensor]:
    """Images 0 ... count-1 in batches of uint8, at most batch_size×C×H×W, on the CPU.

    Args:
        labels: `count` class indices, or None for a model without.
        batch_size: of every forward pass; part of the numbers.
        starts: the first images of the batches to compute, multiples of batch_size; None: of all.
        The others: see `trajectory`.
    """
    for start in range(0, count, batch_size) if starts is None else starts:
        wanted = range(start, min(start + batch_size, count))
        # Any image may stand in the padding: nobody sees it.
        indices = [*wanted, *[wanted[0]] * (batch_size - len(wanted))]
        steps = trajectory(
            denoiser,
            process,
            sampler,
            times,
            shape=shape,
            labels=None if labels is None else torch.tensor([labels[i] for i in indices]),
            indices=indices,
            seed=seed,
            device=device,
            temperature=temperature,
        )
        last = deque(steps, maxlen=1).pop()
        yield to_uint8(last.x[: len(wanted)]).cpu()


def to_uint8(x: Tensor) -> Tensor:
    """[-1, 1] -> 0 ... 255, rounded to the nearest and clipped."""
    return ((x + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
