"""A split on the device, where it is small enough: a batch is then a choice of its rows, and nothing is sent.

The order of a pass lies there as well, sent once a pass, so that a step waits for no copy and none waits for a step.
"""

from collections import OrderedDict

import numpy as np
import torch
from torch import Tensor

from rediffuse.processes import current
from rediffuse.training.order import Order

SHARE = 0.25
"""Of the device's free memory, what a split may take at most: the rest is for the step."""

CHUNK = 1 << 26
"""Bytes sent at a time, so that of a split that is memory-mapped no second copy is made in memory."""

_PASSES = 2


class Resident:
    """A split on the device.

    Args:
        images: N×C×H×W, uint8, in memory or memory-mapped.
        labels: N class indices; None for unlabelled data.
        order: which rows come when.
        device: where they are kept.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray | None, order: Order, device: torch.device) -> None:
        self._order, self._device = order, device
        self._images = _sent(images, device)
        self._labels = None if labels is None else _sent(labels, device)
        self._passes: OrderedDict[int, Tensor] = OrderedDict()

    def read(self, step: int, index: int) -> tuple[Tensor, Tensor | None]:
        """The images of microbatch `index` of step `step`, uint8, and their labels, on the device."""
        parts = [self._pass(epoch)[first:last] for epoch, first, last in self._order.stretches(step, index)]
        rows = parts[0] if len(parts) == 1 else torch.cat(parts)
        images = self._images.index_select(0, rows)
        return images, None if self._labels is None else self._labels.index_select(0, rows)

    def _pass(self, epoch: int) -> Tensor:
        if epoch not in self._passes:
            self._passes[epoch] = sent_ahead(torch.from_numpy(self._order.whole_pass(epoch)), self._device)
            if len(self._passes) > _PASSES:
                self._passes.popitem(last=False)
        return self._passes[epoch]


def fits(images: np.ndarray, labels: np.ndarray | None, device: torch.device) -> bool:
    """Whether a split is worth keeping on the device: it is no CPU, and has room. No byte depends on the answer."""
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    # Several processes may share a device, and each keeps its own.
    return images.nbytes + (0 if labels is None else labels.nbytes) <= SHARE * free / current().count


def sent_ahead(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU on the device, which fetches it by itself when it gets there: nobody waits."""
    if device.type != "cuda":
        return tensor.to(device)
    # Pinned memory is let go of only when it was fetched; the order of the device's work keeps that before its use.
    return tensor.pin_memory().to(device, non_blocking=True)


def _sent(array: np.ndarray, device: torch.device) -> Tensor:
    """All of an array on the device."""
    whole = torch.empty(array.shape, dtype=torch.from_numpy(np.empty(0, array.dtype)).dtype, device=device)
    rows = max(1, CHUNK // max(1, array[:1].nbytes))
    for start in range(0, len(array), rows):
        # A copy: torch takes no array that can't be written, as a memory map is.
        whole[start : start + rows] = torch.from_numpy(np.array(array[start : start + rows]))
    return whole
