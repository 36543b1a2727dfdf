"""Images as the peers take them: float, framed to a side that their networks can halve, and back."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

LARGEST_BATCH = 512


@dataclass(frozen=True)
class Frame:
    """A border that makes height and width multiples of a number; zero pixels wide where they are.

    Args:
        shape: (channels, height, width) of the images.
        multiple: of what both sides have to be.
    """

    shape: tuple[int, int, int]
    multiple: int

    @property
    def framed(self) -> tuple[int, int, int]:
        """(channels, height, width) with the border."""
        channels, *sides = self.shape
        height, width = (-(-side // self.multiple) * self.multiple for side in sides)
        return channels, height, width

    def put_on(self, images: np.ndarray) -> np.ndarray:
        """N×C×H×W -> the same with a border that continues the outermost pixels."""
        (_, height, width), (_, to_height, to_width) = self.shape, self.framed
        top, left = (to_height - height) // 2, (to_width - width) // 2
        border = ((0, 0), (0, 0), (top, to_height - height - top), (left, to_width - width - left))
        return np.pad(images, border, mode="edge")

    def take_off(self, images: np.ndarray) -> np.ndarray:
        """Undo `put_on`."""
        (_, height, width), (_, to_height, to_width) = self.shape, self.framed
        top, left = (to_height - height) // 2, (to_width - width) // 2
        return images[:, :, top : top + height, left : left + width]


def levels(side: int, most: int) -> int:
    """How many resolutions a network has whose smallest feature map is still at least 4 pixels a side."""
    count = 1
    while count < most and side % 2 == 0 and side >= 8:
        side, count = side // 2, count + 1
    return count


def to_bytes(unit: Tensor) -> np.ndarray:
    """[0, 1] -> 0 ... 255, uint8, rounded, on the CPU."""
    pixels: np.ndarray = (unit.float().clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
    return pixels


def drawn(labels: np.ndarray, seed: int, device: torch.device, draw: Callable[[np.ndarray], Tensor]) -> np.ndarray:
    """The images of all labels in batches of nearly the same size, uint8.

    Args:
        seed: of torch's global generators, which are put back afterwards, so that training goes on as it would have.
        draw: images on [0, 1] for some labels.
    """
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        return np.concatenate([to_bytes(draw(part)) for part in np.array_split(labels, batches(len(labels)))])


def batches(count: int) -> int:
    """How many batches so many images are drawn in."""
    return max(1, -(-count // LARGEST_BATCH))
