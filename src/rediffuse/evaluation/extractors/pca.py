"""The extractor `pca`: the pixels themselves, along the directions in which the training images differ most.

It knows neither labels nor shapes, only which pixels are bright together, and so it sees what a classifier is free to
ignore: shade, contrast, noise that is not averaged away.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from scipy import linalg
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from rediffuse import files
from rediffuse.errors import UserError
from rediffuse.evaluation.extractors.batches import BATCH, in_batches
from rediffuse.evaluation.extractors.extractor import ExtractorSettings, Features, Images

Matrix = NDArray[np.float64]

FITTED_ON = 10_000
"""Training images the directions are found on, at most."""
SIDE = 32
"""Larger images are averaged to so many pixels a side: the first directions of a picture are smooth."""
_LEAST = 2
_NO_VARIANCE = 1e-10


@dataclass(frozen=True)
class PcaExtractor:
    """Scaled coordinates along the first principal axes: (x − mean) · axes.

    Args:
        digest: of the file.
        shape: (C, H, W) of the images.
        mean: of the pixels on [-1, 1], float64 (p,).
        axes: float64 (p, d), each scaled alike, so that the features have a mean square of 1 on the training images.
        device: where the product is computed.
    """

    digest: str
    shape: tuple[int, ...]
    mean: Tensor
    axes: Tensor
    device: torch.device

    name = "pca"

    def extract(self, images: Images) -> Features:
        if images.shape[1:] != self.shape:
            raise UserError(f"the extractor pca is fitted to images of {self.shape}, not {images.shape[1:]}")
        return in_batches(
            lambda batch: (pixels(batch) - self.mean) @ self.axes, images, self.axes.shape[1], self.device
        )


def pixels(images: Tensor) -> Tensor:
    """uint8 images (B, C, H, W) as float64 rows (B, p) on [-1, 1], averaged to at most 32 pixels a side."""
    height, width = images.shape[2:]
    x = images.double() / 127.5 - 1
    if max(height, width) > SIDE:
        x = adaptive_avg_pool2d(x, (min(height, SIDE), min(width, SIDE)))
    return x.flatten(1)


def fit(images: Images, dimensions: int) -> tuple[Matrix, Matrix]:
    """Mean (p,) and scaled axes (p, d) of uint8 images (N, C, H, W), of N two or more.

    A function of the set of images: their order decides nothing, since up to 10,000 are chosen and summed in the order
    of their own hashes. d is `dimensions`, or less where the images span fewer (two at least, for a covariance). The
    largest entry of each axis is positive.
    """
    hashes = [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images]
    chosen = sorted(range(len(images)), key=hashes.__getitem__)[:FITTED_ON]
    parts = [chosen[first : first + BATCH] for first in range(0, len(chosen), BATCH)]
    # One thread, so that the number of cores changes no bit.
    with threadpool_limits(1):
        total = sum(_rows(images[part]).sum(axis=0) for part in parts)
        mean = np.asarray(total / len(chosen), np.float64)
        scatter = np.zeros((len(mean), len(mean)))
        for part in parts:
            centred = _rows(images[part]) - mean
            scatter += centred.T @ centred
        count = min(dimensions, len(mean))
        variances, axes = linalg.eigh(scatter / len(chosen), subset_by_index=(len(mean) - count, len(mean) - 1))
    variances, axes = variances[::-1], axes[:, ::-1]
    total_variance = float(np.trace(scatter)) / len(chosen)
    if total_variance == 0:
        raise UserError("reference.extractors names pca, but all training images are alike; leave it out")
    kept = max(int((variances > _NO_VARIANCE * total_variance).sum()), min(_LEAST, count))
    axes = axes[:, :kept]
    signs = np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(kept)])
    return mean, axes * signs / np.sqrt(variances[:kept].clip(min=0).mean())


def _rows(images: Images) -> Matrix:
    rows: Matrix = pixels(torch.from_numpy(images)).numpy()
    return rows


def make_pca(settings: ExtractorSettings, folder: Path, images: Images, device: torch.device) -> None:  # noqa: ARG001
    """Fit to the training images and write what rebuilds it.

    Raises:
        UserError: all images are alike.
    """
    mean, axes = fit(images, settings.pca_dimensions)
    about = {"pca": json.dumps({"shape": images.shape[1:]})}
    with files.replacing(folder / "pca.safetensors") as temporary:
        save_file({"mean": mean, "axes": np.ascontiguousarray(axes)}, temporary, about)


def read_pca(settings: ExtractorSettings, folder: Path, device: torch.device) -> PcaExtractor:  # noqa: ARG001
    """What `make_pca` wrote.

    Raises:
        UserError: the file is missing or holds something else.
    """
    path = folder / "pca.safetensors"
    try:
        with safe_open(path, "pt", device=str(device)) as file:
            shape = tuple(json.loads((file.metadata() or {})["pca"])["shape"])
            mean, axes = file.get_tensor("mean"), file.get_tensor("axes")
        digest = files.sha256(path)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} holds no principal axes: {error}; run `dvc repro reference`") from None
    return PcaExtractor(digest, shape, mean, axes, device)
