"""The first pass over the data: each image decoded once, and turned into a row of figures and a small view.

What the checks of cleaning need afterwards is in these, so that they run on arrays and never on files. All figures are
of the part of the image that `clean.resize` uses, and the same on every machine: sums are of integers, and what is no
integer is rounded to four decimals.
"""

from collections.abc import Iterable
from functools import lru_cache
from hashlib import sha256

import numpy as np
import pyarrow
from PIL import Image

from rediffuse.data.decoding import DecodePolicy, UndecodableError, decode
from rediffuse.data.formatting import Resize, view
from rediffuse.data.sources import Row

LOOKS = pyarrow.schema(
    [
        ("reason", pyarrow.string()),
        ("detail", pyarrow.string()),
        ("converted", pyarrow.string()),
        ("mode", pyarrow.string()),
        ("width", pyarrow.int32()),
        ("height", pyarrow.int32()),
        ("grey", pyarrow.bool_()),
        ("sha256", pyarrow.binary(32)),
        ("range", pyarrow.uint8()),
        ("brightness", pyarrow.float32()),
        ("contrast", pyarrow.float32()),
        ("entropy", pyarrow.float32()),
    ]
)
"""One row an image. reason is "" where the image can be decoded, else one of `manifest.FAULTS`, and detail says more;
what follows is then empty or 0. converted holds names of `manifest.CONVERSIONS`, joined by spaces; mode is the file's,
width and height the upright image's. sha256 is of the decoded pixels and their shape. range is the brightest level
less the darkest, in the channel where that is most; brightness (mean), contrast (standard deviation) and entropy (bits)
are of the luma, 0 to 255."""

LUMA_SIDE, COLOUR_SIDE = 32, 4
VIEW_BYTES = LUMA_SIDE**2 + COLOUR_SIDE**2 * 3

_Value = str | int | bool | bytes

# Images wait until this many bytes of them can be measured at once; a larger one is measured in strips.
_STRIP_BYTES = 1 << 22
_COMMON_LENGTH = 1 << 12


def look(rows: Iterable[Row], policy: DecodePolicy, resize: Resize) -> tuple[pyarrow.Table, np.ndarray]:
    """Decode and measure a batch of rows; some hundred at once are fast, and what it holds grows with them.

    Returns:
        A table of `LOOKS`, one row a row; and the views, uint8 of rows × 1072: the luma of 32 × 32 cells, then the RGB
        of 4 × 4 cells, each the mean of its part of the image, row by row; zeros where the image can't be decoded.
    """
    batch = list(rows)
    columns: dict[str, list[_Value]] = {name: [] for name in LOOKS.names[: LOOKS.names.index("range")]}
    measured = _Measured(len(batch))
    for i, row in enumerate(batch):
        try:
            if row.fault:
                raise UndecodableError("refused", row.fault)
            picture = decode(row.content, policy)
        except UndecodableError as error:
            values: tuple[_Value, ...] = (error.reason, error.detail, "", "", 0, 0, False, bytes(32))
        else:
            pixels = picture.pixels
            digest = sha256(f"{pixels.shape}".encode())
            digest.update(pixels.data)
            converted = " ".join(picture.conversions)
            size = (picture.width, picture.height)
            values = ("", "", converted, picture.mode, *size, pixels.ndim == 2, digest.digest())
            measured.add(i, view(pixels, resize), pixels.nbytes)
        for column, value in zip(columns.values(), values, strict=True):
            column.append(value)
    measured.finish()
    figures = {name: getattr(measured, name) for name in ("range", "brightness", "contrast", "entropy")}
    return pyarrow.table({**columns, **figures}, schema=LOOKS), measured.views


class _Measured:
    """The figures and views of a batch, those of images with one shape taken together."""

    def __init__(self, count: int) -> None:
        self.range = np.zeros(count, dtype=np.uint8)
        self.brightness, self.contrast, self.entropy = np.zeros((3, count), dtype=np.float32)
        self.views = np.zeros((count, VIEW_BYTES), dtype=np.uint8)
        self._waiting: dict[tuple[int, ...], list[tuple[int, np.ndarray]]] = {}
        self._bytes = 0

    def add(self, position: int, pixels: np.ndarray, held: int) -> None:
        """One image, uint8, H×W or H×W×3, which may be a part of one that keeps `held` bytes in memory."""
        self._waiting.setdefault(pixels.shape, []).append((position, pixels))
        self._bytes += held
        if self._bytes > _STRIP_BYTES:
            self.finish()

    def finish(self) -> None:
        """Measure what waits."""
        for group in self._waiting.values():
            images = [pixels for _, pixels in group]
            # A large image waits alone, and is not copied.
            stack = np.stack(images) if len(images) > 1 else images[0][None]
            self._measure([position for position, _ in group], stack)
        self._waiting.clear()
        self._bytes = 0

    def _measure(self, where: list[int], stack: np.ndarray) -> None:
        """Images of one shape, N×H×W or N×H×W×3."""
        count = len(stack)
        planes = [stack] if stack.ndim == 3 else [stack[..., channel] for channel in range(3)]
        luma = stack if stack.ndim == 3 else _luma(stack)
        ranges = [np.ptp(plane, axis=(1, 2)) for plane in planes]
        self.range[where] = np.max(ranges, axis=0)
        self.brightness[where], self.contrast[where], self.entropy[where] = _moments(_histograms(luma))
        self.views[where, : LUMA_SIDE**2] = cell_means(luma, LUMA_SIDE).reshape(count, -1)
        cells = np.stack([cell_means(plane, COLOUR_SIDE) for plane in planes], axis=-1)
        self.views[where, LUMA_SIDE**2 :] = np.broadcast_to(cells, (*cells.shape[:3], 3)).reshape(count, -1)


def cell_means(stack: np.ndarray, side: int) -> np.ndarray:
    """Images cut into side × side equal cells, and the mean of each cell; a pixel counts by what of it lies inside.

    Sums are of integers, and floating-point numbers hold them without rounding: matrix products in any order and on
    any machine give the same.

    Args:
        stack: uint8, N×H×W, at least 1×1 pixels.

    Returns:
        uint8, N × side × side, rounded.
    """
    count, height, width = stack.shape
    down, across = _overlaps(height, side), _overlaps(width, side)
    # A cell's sum along one axis is at most 255 · width; float32 holds integers up to 2**24.
    exact = np.float32 if 255 * width < 1 << 24 else np.float64
    across = across.astype(exact)
    sums = np.zeros((count, side, side))
    strip = max(1, _STRIP_BYTES // (count * width))
    for top in range(0, height, strip):
        rows = stack[:, top : top + strip]
        along = rows.reshape(-1, width).astype(exact) @ across
        sums += down[top : top + strip].T @ along.reshape(count, -1, side).astype(np.float64)
    doubled = 2 * sums.astype(np.int64) + height * width
    return np.asarray(doubled // (2 * height * width), dtype=np.uint8)


def _overlaps(length: int, side: int) -> np.ndarray:
    """`_computed_overlaps`, which are kept where they are small: most images have one of few sizes."""
    return (_kept_overlaps if length <= _COMMON_LENGTH else _computed_overlaps)(length, side)


def _computed_overlaps(length: int, side: int) -> np.ndarray:
    """How much of each pixel lies in each of `side` cells along one axis, in units of 1 / side of a pixel.

    Returns:
        float64 of length × side, integers; each column sums to `length`.
    """
    pixels, cells = np.arange(length)[:, None] * side, np.arange(side) * length
    covered = np.minimum(pixels + side, cells + length) - np.maximum(pixels, cells)
    return np.asarray(np.maximum(covered, 0), dtype=np.float64)


_kept_overlaps = lru_cache(maxsize=8)(_computed_overlaps)


def _luma(stack: np.ndarray) -> np.ndarray:
    """N×H×W×3 as N×H×W, ITU-R 601 as Pillow rounds it."""
    count, height, width, _ = stack.shape
    luma = np.empty((count, height, width), dtype=np.uint8)
    strip = max(1, _STRIP_BYTES // (count * width))
    for top in range(0, height, strip):
        rows = stack[:, top : top + strip]
        # One tall image, for Pillow needs as long to begin as for a thousand pixels.
        tall = Image.fromarray(rows.reshape(-1, width, 3)).convert("L")
        luma[:, top : top + strip] = np.asarray(tall).reshape(count, -1, width)
    return luma


def _histograms(stack: np.ndarray) -> np.ndarray:
    """How often each level occurs in each image, int64 of N×256."""
    count = len(stack)
    flat = stack.reshape(count, -1)
    bins = np.arange(count)[:, None] * 256
    counts = np.zeros(count * 256, dtype=np.int64)
    strip = max(1, _STRIP_BYTES // count)
    for left in range(0, flat.shape[1], strip):
        counts += np.bincount((flat[:, left : left + strip] + bins).ravel(), minlength=count * 256)
    return counts.reshape(count, 256)


def _moments(histograms: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, standard deviation and entropy (bits) of each histogram, rounded to four decimals."""
    total = histograms.sum(axis=1)
    levels = np.arange(256)
    mean = (histograms * levels).sum(axis=1) / total
    square = (histograms * (levels - mean[:, None]) ** 2).sum(axis=1) / total
    share = histograms / total[:, None]
    bits = -(share * np.log2(share, out=np.zeros_like(share), where=share > 0)).sum(axis=1)
    # A sum of nothing but -0.0 would be told from 0.0 in a file.
    return mean.round(4), np.sqrt(square).round(4), bits.round(4) + 0.0
