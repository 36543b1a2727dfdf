"""The exponential moving average of the weights, in float32, buffers included."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def ema_decay(step: int, decay: float, start: int) -> float:
    """β after optimizer step `step` (from 1): 0 until `start`, a copy; then rising to `decay` as in short averages.

    β = min(decay, (1 + n) / (10 + n)) with n steps since the start (Abadi et al., TensorFlow's num_updates).
    """
    since = step - start
    return 0.0 if since <= 0 else min(decay, (1 + since) / (10 + since))


@torch.no_grad()
def update(average: nn.Module, model: nn.Module, beta: float) -> None:
    """average <- β·average + (1 - β)·model, in place; what is no float is copied."""
    averages, values = _tensors(average), _tensors(model)
    pairs = list(zip(averages, values, strict=True))
    floats = [(a, b) for a, b in pairs if a.is_floating_point()]
    torch._foreach_lerp_([a for a, _ in floats], [b for _, b in floats], 1 - beta)
    for a, b in pairs:
        if not a.is_floating_point():
            a.copy_(b)


def _tensors(module: nn.Module) -> Sequence[Tensor]:
    return list(module.state_dict().values())
