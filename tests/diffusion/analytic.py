"""Denoisers that are known exactly, so that samplers and losses can be judged without training anything."""

from dataclasses import dataclass

import torch
from torch import Tensor

from rediffuse.diffusion import Process, expand
from rediffuse.networks import Condition


@dataclass(frozen=True)
class GaussianDenoiser:
    """E[x0 | x_t] for pixels x0 ~ N(mean, std²): mean + α·std²/(α²std² + σ²)·(x_t - α·mean)."""

    process: Process
    mean: float
    std: float

    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        alpha, sigma = expand(self.process.alpha(t), x_t), expand(self.process.sigma(t), x_t)
        gain = alpha * self.std**2 / (alpha**2 * self.std**2 + sigma**2)
        return self.mean + gain * (x_t - alpha * self.mean)

    def flow(self, x: Tensor, t: float, s: float) -> Tensor:
        """Where the probability-flow ODE takes x from t to s: the quantile of x stays what it is."""
        times = torch.tensor([t, s], dtype=torch.float64)
        alpha, sigma = self.process.alpha(times), self.process.sigma(times)
        spread = (alpha**2 * self.std**2 + sigma**2).sqrt()
        return alpha[1] * self.mean + spread[1] / spread[0] * (x - alpha[0] * self.mean)


@dataclass(frozen=True)
class MixtureDenoiser:
    """E[x0 | x_t] for images x0 from equal Gaussians N(mean_k, std²) that all pixels of an image share."""

    process: Process
    means: tuple[float, ...]
    std: float

    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        alpha, sigma = expand(self.process.alpha(t), x_t), expand(self.process.sigma(t), x_t)
        variance = alpha**2 * self.std**2 + sigma**2
        away = torch.stack([x_t - alpha * mean for mean in self.means])
        evidence = (-(away**2) / (2 * variance)).flatten(2).sum(2).softmax(0)
        each = torch.stack(
            [mean + alpha * self.std**2 / variance * part for mean, part in zip(self.means, away, strict=True)]
        )
        return (evidence[:, :, None, None, None] * each).sum(0)
