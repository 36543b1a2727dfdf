"""How uncertain a denoiser is at each noise level, learned with it, so that all levels count alike."""

import torch
from torch import Tensor, nn

from rediffuse.diffusion.prediction import noise_condition
from rediffuse.diffusion.process import Process
from rediffuse.networks.embeddings import SinusoidalEncoding


class Uncertainty(nn.Module):
    """u(σ̃) in loss / e^u + u, whose best value is the logarithm of the loss at σ̃ (Karras et al., 2024, eq. 21).

    Args:
        process: whose times it is asked for.
        channels: of the encoding of c_noise; even.
    """

    def __init__(self, process: Process, channels: int = 64) -> None:
        super().__init__()
        self.process = process
        # From one wave over the whole range of c_noise, about 2.5, to sixteen.
        self.encoding = SinusoidalEncoding(channels, scale=40.0, max_period=16.0)
        self.linear = nn.Linear(channels, 1)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, t: Tensor) -> Tensor:
        """Times B -> u, B; 0 before training."""
        u: Tensor = self.linear(self.encoding(noise_condition(self.process.at(t)).float()))[:, 0]
        return u

    def balance(self, loss: Tensor, t: Tensor) -> Tensor:
        """Losses B at times B -> loss / e^u + u."""
        u = self(t)
        balanced: Tensor = loss * torch.exp(-u) + u
        return balanced
