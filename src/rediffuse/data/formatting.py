"""From decoded pixels of any size to a square of one size: pure functions, the same pixels on every run."""

from typing import Literal

import numpy as np
from PIL import Image

Resize = Literal["center_crop", "pad", "squash"]


def view(pixels: np.ndarray, resize: Resize) -> np.ndarray:
    """The part of an image, H×W or H×W×3, that formatting uses: the centre square for center_crop, else all of it."""
    if resize != "center_crop":
        return pixels
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return pixels[top : top + side, left : left + side]


def square(
    pixels: np.ndarray, size: int, channels: int, resize: Resize, background: tuple[int, int, int]
) -> np.ndarray:
    """An image resized (Lanczos, antialiased) to size × size.

    Args:
        pixels: uint8, H×W or H×W×3, as `decode` gives them.
        size: pixels a side.
        channels: 1 (luma, ITU-R 601) or 3.
        resize: center_crop cuts to the centre square; squash keeps all and forgets the proportions; pad keeps all and
            the proportions, with the background above and below, or left and right.
        background: RGB around a padded image; its luma where there is one channel.

    Returns:
        uint8, channels × size × size.
    """
    part = view(pixels, resize)
    if channels == 1 and part.ndim == 3:
        part = np.asarray(Image.fromarray(part).convert("L"))
    height, width = (size, size) if resize != "pad" else _within(size, *part.shape[:2])
    if part.shape[:2] != (height, width):
        part = np.asarray(Image.fromarray(part).resize((width, height), Image.Resampling.LANCZOS))
    planes = part[None] if part.ndim == 2 else part.transpose(2, 0, 1)
    formatted = np.empty((channels, size, size), dtype=np.uint8)
    if (height, width) == (size, size):
        formatted[:] = planes
        return formatted
    ground = background if channels == 3 else (_luma(background),)
    formatted[:] = np.array(ground, dtype=np.uint8)[:, None, None]
    # The picture is resized before it is laid down, so that no filter smears its edge into the background.
    top, left = (size - height) // 2, (size - width) // 2
    formatted[:, top : top + height, left : left + width] = planes
    return formatted


def _within(size: int, height: int, width: int) -> tuple[int, int]:
    """Height and width with the long side `size` and the proportions kept, but at least one pixel."""
    long = max(height, width)
    return max(1, (height * size + long // 2) // long), max(1, (width * size + long // 2) // long)


def _luma(colour: tuple[int, int, int]) -> int:
    level = Image.new("RGB", (1, 1), colour).convert("L").getpixel((0, 0))
    assert isinstance(level, int)
    return level
