"""The loss on held-out images, with fixed noise and times spread over all noise levels."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from rediffuse.diffusion import Denoiser, DenoisingLoss, NetworkDenoiser, NoiseLevels, noise_to_signal, stratified
from rediffuse.networks import Condition
from rediffuse.processes import current
from rediffuse.randomness import generator
from rediffuse.training.batches import to_float

BATCH = 256
STREAM = "validation"


def held_out(count: int, most: int, seed: int) -> np.ndarray:
    """Which images of a split of `count` every validation looks at, in order: all, or `most` of them by lot."""
    if count <= most:
        return np.arange(count)
    drawn: np.ndarray = torch.randperm(count, generator=generator(seed, f"{STREAM}/images"))[:most].numpy()
    return np.sort(drawn)


def validation_loss(
    denoiser: NetworkDenoiser,
    loss: DenoisingLoss,
    noise_levels: NoiseLevels,
    images: np.ndarray,
    labels: np.ndarray | None,
    *,
    seed: int,
    device: torch.device,
    check: Callable[[], None] = lambda: None,
) -> float:
    """Mean loss over a split, the same noise and the same stratified times each time it is asked.

    Args:
        images: N×C×H×W, uint8.
        labels: N class indices, or None.
        seed: of the noise, which is drawn on the CPU, so that it is the same on all devices.
        check: called before each batch; may raise.
    """
    u = stratified(len(images), generator(seed, f"{STREAM}/times"))
    # Neighbours in the split may be alike; their times should not be.
    u = u[torch.randperm(len(images), generator=generator(seed, f"{STREAM}/order"))]
    losses = _losses(denoiser, loss, noise_levels(u), images, labels, seed=seed, device=device, check=check)
    return float(losses.mean())


def loss_by_noise_level(
    denoisers: Mapping[str, Denoiser],
    loss: DenoisingLoss,
    noise_levels: NoiseLevels,
    images: np.ndarray,
    labels: np.ndarray | None,
    *,
    levels: int,
    seed: int,
    device: torch.device,
) -> list[dict[str, float]]:
    """Mean losses over a split at each of `levels` noise levels, the midpoints of equal shares of the training's.

    Args:
        denoisers: by what their columns end with ("_raw", say); all see the same noise on the same images.

    Returns:
        rows {noise_to_signal, loss<end> of each, mse<end> of each}, from little noise to much; mse is the unweighted
        error of the clean image.
    """
    rows = []
    for u in (torch.arange(levels) + 0.5) / levels:
        t = noise_levels(u.expand(len(images)))
        means = {
            end: float(_losses(denoiser, loss, t, images, labels, seed=seed, device=device).mean())
            for end, denoiser in denoisers.items()
        }
        rows.append(
            {
                "noise_to_signal": float(noise_to_signal(loss.process, t[:1])),
                **{f"loss{end}": mean for end, mean in means.items()},
                **{f"mse{end}": mean / float(loss.weight(t[:1])) for end, mean in means.items()},
            }
        )
    return rows


# Not inference mode, whose tensors FSDP2 can't put together.
@torch.no_grad()
def _losses(
    denoiser: Denoiser,
    loss: DenoisingLoss,
    times: Tensor,
    images: np.ndarray,
    labels: np.ndarray | None,
    *,
    seed: int,
    device: torch.device,
    check: Callable[[], None] = lambda: None,
) -> Tensor:
    """The loss of each image at its time, on the CPU; all processes ask for it together and share the work."""
    processes, parts = current(), []
    starts = range(0, len(images), BATCH)
    for first in range(0, len(starts), processes.count):
        check()
        # Whoever has no batch in the last round computes that of another: a sharded model needs all of them.
        start = starts[min(first + processes.rank, len(starts) - 1)]
        rows = slice(start, start + BATCH)
        x0 = to_float(torch.from_numpy(np.ascontiguousarray(images[rows])).to(device))
        noise = torch.randn(x0.shape, generator=generator(seed, f"{STREAM}/noise", index=start)).to(device)
        given = None if labels is None else torch.from_numpy(labels[rows]).to(device)
        parts.append(loss(denoiser, x0, Condition(labels=given), noise, times[rows].to(device)))
    # Fetched in the end: the device needn't wait for the batch that is being drawn.
    shared = processes.gather_on_all([each.cpu() for each in parts])
    return torch.cat([shared[index % processes.count][index // processes.count] for index in range(len(starts))])
