"""Whether two pictures are the same one, by the pixels of their views.

One picture is predicted from the other with brightness, contrast and sharpness free: least squares over its pixels and
its pixels blurred. What is left counts where it is greatest, for another text in the same template, or another button
on the same shirt, is a small difference in one place.
"""

from functools import lru_cache

import numpy as np

from rediffuse.data.duplicates.keys import PIXELS, SIDE

_WIDE = 4
"""Smoothings of the blurred picture in the prediction: as wide as what resizing to half and back blurs."""

_AROUND = 16
"""Smoothings of the square of the brightness for the contrast about a place: over some 6 pixels."""

_WHOLE = 0.5
"""Weight of the whole picture's contrast beside that about a place: flat parts may not weigh without measure."""

_NOISE = 0.5
"""Grey levels that any two pictures differ by: what has next to no contrast resembles nothing."""

_COLOUR = 12.0
"""Grey levels by which the colours of the same picture may differ, root mean square over 4×4 cells."""

_STRETCH = 2.0
"""Greatest ratio of the contrasts of the same picture."""


def grey(views: np.ndarray) -> np.ndarray:
    """The grey levels of views: float32, n×32×32."""
    return np.asarray(views[:, :PIXELS].reshape(-1, SIDE, SIDE), np.float32)


def colours(views: np.ndarray) -> np.ndarray:
    """What the 4×4 cells of views have of red, green and blue beyond grey: float32, n×4×4×3."""
    cells = views[:, PIXELS:].reshape(-1, 4, 4, 3).astype(np.float32)
    return np.asarray(cells - cells.mean(axis=3, keepdims=True))


def similarity(first: np.ndarray, second: np.ndarray, seen: np.ndarray | None = None) -> np.ndarray:
    """1 less the greatest difference in brightness, as a share of the contrast there: float32, n.

    Places are 2×2 of 32×32 pixels.

    Args:
        first, second: grey levels, n×32×32.
        seen: where both show something, bool, n×32×32, or None: everywhere.
    """
    weight = np.ones_like(first) if seen is None else seen.astype(np.float32)
    fine, wide = smoothing(SIDE, 1), smoothing(SIDE, 1 + _WIDE)
    (one, one_wide), (two, two_wide) = (
        [centred(smooth @ picture @ smooth, weight) for smooth in (fine, wide)] for picture in (first, second)
    )
    size = np.maximum(weight.sum(axis=(1, 2)), 1)
    contrasts = [np.sqrt((picture * picture).sum(axis=(1, 2)) / size) + 1e-6 for picture in (one, two)]
    # The sharper picture predicts: blurring is possible, sharpening isn't.
    details = [
        ((picture - blurred) ** 2).sum(axis=(1, 2)) / contrast**2
        for picture, blurred, contrast in ((one, one_wide, contrasts[0]), (two, two_wide, contrasts[1]))
    ]
    turn = (details[1] > details[0])[:, None, None]
    given, given_wide, wanted = np.where(turn, two, one), np.where(turn, two_wide, one_wide), np.where(turn, one, two)
    left = _left(given, given_wide, wanted)
    around = smoothing(SIDE, _AROUND)
    local = around @ (wanted * wanted) @ around - (around @ wanted @ around) ** 2
    whole = np.where(turn[:, 0, 0], *contrasts)[:, None, None] ** 2
    shares = (left * left + _NOISE**2) / ((local + _WHOLE * whole) / (1 + _WHOLE))
    cells = shares.reshape(-1, SIDE // 2, 2, SIDE // 2, 2).mean(axis=(2, 4)).max(axis=(1, 2))
    alike = 1 - np.sqrt(cells)
    ratio = contrasts[0] / contrasts[1]
    return np.where((ratio > 1 / _STRETCH) & (ratio < _STRETCH), alike, -np.inf).astype(np.float32)


def same_colours(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Whether colours (n×4×4×3) are the same up to a common factor between 1/2 and 2: bool, n."""
    one, two = first.reshape(len(first), -1), second.reshape(len(second), -1)
    own, others = (one * one).sum(axis=1), (two * two).sum(axis=1)
    factor = np.sqrt(np.clip(others / np.maximum(own, 1), 1 / _STRETCH**2, _STRETCH**2))[:, None]
    apart = one * np.sqrt(factor) - two / np.sqrt(factor)
    return np.asarray((apart * apart).mean(axis=1) <= _COLOUR**2)


def centred(pictures: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Pictures less their mean where the weight is 1, and 0 where it is 0."""
    mean = (pictures * weight).sum(axis=(1, 2)) / np.maximum(weight.sum(axis=(1, 2)), 1)
    return np.asarray((pictures - mean[:, None, None]) * weight)


@lru_cache
def smoothing(side: int, times: int) -> np.ndarray:
    """The matrix, symmetric, that smooths by (1, 2, 1) / 4 so many times, the edge repeated: float32."""
    once = np.eye(side) / 2 + (np.eye(side, k=1) + np.eye(side, k=-1)) / 4
    once[0, 0] = once[-1, -1] = 0.75
    return np.asarray(np.linalg.matrix_power(once, times), np.float32)


def _left(given: np.ndarray, blurred: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """What is left of the wanted pictures after least squares over the given ones and these blurred."""
    known = np.stack([given, blurred], axis=1).reshape(len(given), 2, SIDE * SIDE).astype(np.float64)
    products = known @ known.transpose(0, 2, 1) + np.eye(2)
    factors = np.linalg.solve(products, known @ wanted.reshape(len(given), SIDE * SIDE, 1))
    return wanted - (factors.transpose(0, 2, 1) @ known).reshape(wanted.shape).astype(np.float32)
