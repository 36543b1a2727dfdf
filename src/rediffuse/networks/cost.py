"""What a network costs: its weights, and the arithmetic of one example."""

from typing import NamedTuple

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from rediffuse.networks.condition import Condition


class Cost(NamedTuple):
    """Of a network.

    Args:
        parameters: its weights.
        flops: of the forward pass of one example: a multiplication and an addition for each weight of a convolution at
            each pixel, of a linear layer, and for each product of attention; nothing else counts.
    """

    parameters: int
    flops: int

    def __str__(self) -> str:
        return f"{self.parameters:,} parameters, {self.flops / 1e6:.4g} MFLOP in the forward pass of an example"


def cost(network: nn.Module, shape: tuple[int, int, int], *, labelled: bool) -> Cost:
    """What a network costs on images of `shape` (channels, height, width), the same on every device.

    It computes one example to see; nothing random is drawn.

    Args:
        network: F(x, c_noise, condition).
        shape: of one image.
        labelled: whether examples have labels.
    """
    training, device = network.training, next(network.parameters()).device
    x, c_noise = torch.zeros(1, *shape, device=device), torch.zeros(1, device=device)
    labels = torch.zeros(1, dtype=torch.int64, device=device) if labelled else None
    network.eval()
    # Without fused ways, which differ from device to device and which the counter does not know all: of attention by
    # its plain form, and by asking for gradients, without which torch's attention layer takes another.
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        network(x, c_noise, Condition(labels=labels))
    network.train(training)
    return Cost(sum(each.numel() for each in network.parameters()), int(counter.get_total_flops()))
