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
from rediffuse.samplers.noise import Between, NoiseKey, noise_of
from rediffuse.samplers.step import Sampler, Step


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
    keys: Sequence[NoiseKey | Between],
    device: torch.device,
    temperature: float = 1.0,
) -> Iterator[Step]:
    """Sample the images of `keys` as one batch, and yield each step, the prior first.

    Args:
        denoiser, process, sampler, times: see `samplers.step`.
        shape: (channels, height, width).
        labels: B class indices, or None for a model without.
        keys: B of them; each image's noise is a function of its own.
        device: where the denoiser runs.
        temperature: standard deviation of the initial noise as a share of the prior's.
    """
    noise = noise_of(keys, shape, device)
    x = noise() * float(temperature * process.sigma(times[:1]))
    yield Step(t=float(times[0]), x=x, denoised=torch.zeros_like(x))
    if labels is not None:
        labels = (labels.pin_memory() if device.type == "cuda" else labels).to(device, non_blocking=True)
    condition = Condition(labels=labels)
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

    A GPU is told of a batch before the one before it is fetched, so that it never waits for who takes them.

    Args:
        labels: `count` class indices, or None for a model without.
        batch_size: of every forward pass; part of the numbers.
        starts: the first images of the batches to compute, multiples of batch_size; None: of all.
        The others: see `trajectory`.
    """
    before: _Fetched | None = None
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
            keys=[NoiseKey(seed, index) for index in indices],
            device=device,
            temperature=temperature,
        )
        last = deque(steps, maxlen=1).pop()
        images = to_uint8(last.x[: len(wanted)])
        if device.type != "cuda":
            yield images
            continue
        now = _Fetched(images)
        if before is not None:
            yield before.images()
        before = now
    if before is not None:
        yield before.images()


class _Fetched:
    """Images on their way from a GPU."""

    def __init__(self, images: Tensor) -> None:
        self._arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self._pinned = torch.empty(images.shape, dtype=images.dtype, pin_memory=True)
        self._pinned.copy_(images, non_blocking=True)
        self._arrived.record(torch.cuda.current_stream(images.device))

    def images(self) -> Tensor:
        """Waits for them; in memory of their own, because little can be pinned."""
        self._arrived.synchronize()
        return self._pinned.clone()


def to_uint8(x: Tensor) -> Tensor:
    """[-1, 1] -> 0 ... 255, rounded to the nearest and clipped."""
    return ((x + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
