"""What a model costs, in numbers that repeat: no seconds, which are a machine's."""

from dataclasses import dataclass

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from rediffuse.model import Model
from rediffuse.networks import Condition


@dataclass(frozen=True)
class Cost:
    """What training and sampling took.

    Args:
        parameters: weights of the denoiser.
        examples: training images it saw, repeats counted.
        forward: floating-point operations of one evaluation of one image, two for a multiplication with its addition.
        evaluations: of the network for one image of the samples; guidance counts both of its networks.
    """

    parameters: int
    examples: int
    forward: int
    evaluations: float

    @property
    def image(self) -> float:
        """Floating-point operations of one sampled image."""
        return self.forward * self.evaluations


def cost_of(model: Model, *, examples: int, evaluations: float, device: torch.device) -> Cost:
    """The cost of a model that saw `examples` and was evaluated so often an image."""
    return Cost(
        sum(weights.numel() for weights in model.denoiser.parameters()),
        examples,
        forward_flops(model, device),
        evaluations,
    )


@torch.no_grad()
def forward_flops(model: Model, device: torch.device) -> int:
    """Floating-point operations of convolutions and matrix products in one evaluation of one image.

    Attention is computed step by step here, because the counter does not know every fused kernel; so the number is the
    same on every device.
    """
    x = torch.zeros(1, *model.shape, device=device)
    time = torch.full((1,), 0.5, device=device)
    labels = torch.zeros(1, dtype=torch.int64, device=device) if model.classes else None
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model.denoiser(x, time, Condition(labels=labels))
    return int(counter.get_total_flops())
