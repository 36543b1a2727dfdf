"""Denoisers that are known exactly: samplers, losses and likelihoods are judged without training anything."""

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
class CorrelatedDenoiser:
    """E[x0 | x_t] for images of 2×2 pixels x0 ~ N(mean, covariance): mean + αC(α²C + σ²)⁻¹(x_t - α·mean)."""

    process: Process

    mean = torch.tensor([0.4, -0.3, 0.0, 0.2], dtype=torch.float64)
    covariance = torch.tensor(
        [[0.30, 0.18, 0.05, 0.00], [0.18, 0.25, -0.04, 0.02], [0.05, -0.04, 0.12, 0.03], [0.00, 0.02, 0.03, 0.08]],
        dtype=torch.float64,
    )

    def __call__(self, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        # All examples of a sampler's batch are at one time.
        alpha, sigma = self.process.alpha(t[:1]), self.process.sigma(t[:1])
        noisy = alpha**2 * self.covariance + sigma**2 * torch.eye(4, dtype=torch.float64)
        gain = alpha * torch.linalg.solve(noisy, self.covariance)
        centred = x_t.flatten(1) - alpha * self.mean
        return (self.mean + centred @ gain).reshape(x_t.shape)

    def noisy_covariance(self, t: Tensor) -> Tensor:
        """Of x_t."""
        alpha, sigma = self.process.alpha(t), self.process.sigma(t)
        return alpha**2 * self.covariance + sigma**2 * torch.eye(4, dtype=torch.float64)


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
