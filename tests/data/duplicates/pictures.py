"""Views of made-up pictures, and views of changed copies of real ones."""

import numpy as np

from rediffuse.data.looking import cell_means


def smooth_pictures(count: int, seed: int = 0, side: int = 64) -> np.ndarray:
    """Random smooth pictures with sharp parts, uint8, count×side×side."""
    random = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side))
    frequency[0, 0] = 1
    planes = np.fft.ifft2(np.fft.fft2(random.normal(size=(count, side, side))) / frequency**1.3).real
    planes = planes / planes.std(axis=(1, 2), keepdims=True) * 40 + 128
    return np.clip(planes, 0, 255).astype(np.uint8)


def views_of(pictures: np.ndarray, tint: tuple[float, float, float] = (1, 1, 1)) -> np.ndarray:
    """Views of grey pictures, their colours tinted."""
    grey = cell_means(pictures, 32).reshape(len(pictures), -1)
    cells = cell_means(pictures, 4)[..., None] * np.array(tint)
    return np.concatenate([grey, cells.reshape(len(pictures), -1).astype(np.uint8)], axis=1)


def random_views(count: int, seed: int = 0) -> np.ndarray:
    return views_of(smooth_pictures(count, seed))


def flat(count: int, level: int) -> np.ndarray:
    return np.full((count, 1072), level, np.uint8)
