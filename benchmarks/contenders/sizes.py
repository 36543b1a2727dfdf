"""How large a network is: its weights and its FLOPs, counted on the meta device, where nothing is computed."""

from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

META = torch.device("meta")


def weights(network: nn.Module) -> int:
    """How many numbers are trained."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def on_meta(build: Callable[[], nn.Module]) -> nn.Module:
    """What `build` gives, without memory behind its tensors."""
    with META:
        return build()


def nearest_width(build: Callable[[int], nn.Module], wanted: int, widths: Iterable[int]) -> int:
    """The width whose network has the number of weights nearest to `wanted`.

    Args:
        build: the network of a width.
        widths: rising, as many as may be looked at.
    """
    best, distance = 0, float("inf")
    for width in widths:
        count = weights(on_meta(partial(build, width)))
        if abs(count - wanted) < distance:
            best, distance = width, abs(count - wanted)
        if count > wanted:
            break
    return best


def flops(build: Callable[[], nn.Module], forward: Callable[[nn.Module], object]) -> float:
    """Of one forward pass, a multiplication and an addition counted as two.

    Args:
        forward: calls the network with tensors on META.
    """
    # In training mode and with gradients: attention's fast path for inference is an operator that nobody counts.
    network = on_meta(build).train()
    with FlopCounterMode(display=False) as counter, META:
        forward(network)
    return float(counter.get_total_flops())
