"""Numbers and labels as vectors."""

import torch
from torch import Tensor, nn

from rediffuse.networks.condition import NO_LABEL


class SinusoidalEncoding(nn.Module):
    """A scalar as sines and cosines of geometrically spaced frequencies (Vaswani et al., 2017, section 3.5).

    Args:
        channels: length of the vector; even.
        scale: the highest frequency, in radians a unit of the input; the lowest is scale / max_period.
        max_period: ratio of the highest to the lowest frequency.
    """

    frequencies: Tensor

    def __init__(self, channels: int, scale: float = 1.0, max_period: float = 10_000.0) -> None:
        super().__init__()
        if channels % 2:
            raise ValueError(f"channels is {channels}, not even")
        exponent = torch.arange(channels // 2, dtype=torch.float64) / (channels // 2)
        self.register_buffer("frequencies", (scale * max_period**-exponent).float(), persistent=False)

    def forward(self, value: Tensor) -> Tensor:
        """B scalars -> B×channels, sines first."""
        angles = value[:, None].to(self.frequencies.dtype) * self.frequencies
        return torch.cat([angles.sin(), angles.cos()], dim=1)


class ClassEmbedding(nn.Module):
    """A label as a learned vector; an example without a label adds nothing.

    Args:
        classes: number of classes, at least 1.
        channels: length of the vector.
    """

    def __init__(self, classes: int, channels: int) -> None:
        super().__init__()
        self.table = nn.Embedding(classes, channels)

    def forward(self, labels: Tensor) -> Tensor:
        """B class indices or NO_LABEL -> B×channels."""
        known = (labels != NO_LABEL)[:, None]
        embedded: Tensor = self.table(labels.clamp(min=0))
        return embedded * known
