"""The Fréchet distance of two sets of feature vectors, each seen as a Gaussian (Heusel et al., 2017). All in float64.

FD = |μ_x − μ_y|² + tr(Σ_x + Σ_y − 2(Σ_xΣ_y)^½), (μ, Σ) a set's mean and covariance. It shrinks as sets grow: compare
only numbers of equal sizes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

_BLOCK = 4096
"""Rows that are decomposed at once, at least; four times the dimensions where that is more."""


@dataclass(frozen=True)
class Gaussian:
    """A set of features as the Fréchet distance sees it: mean (d,) and a root R with Σ = RᵀR, at most d × d."""

    mean: Matrix
    root: Matrix

    @classmethod
    def of(cls, features: NDArray[np.floating]) -> "Gaussian":
        """Fitted to features (N, d), N at least 2, with the unbiased covariance (N − 1), a block at a time."""
        if len(features) < 2:
            raise ValueError(f"{len(features)} images are too few: at least 2 are needed")
        mean: Matrix = features.mean(axis=0, dtype=np.float64)
        # R from a QR decomposition of the centred rows: Σ is never formed, so nothing is lost to squaring, and a
        # singular Σ (fewer images than dimensions) needs no care. Of more rows the R of some goes on top of the next.
        root: Matrix = np.zeros((0, features.shape[1]))
        height = max(_BLOCK, 4 * features.shape[1])
        for first in range(0, len(features), height):
            rows = (features[first : first + height] - mean) / np.sqrt(len(features) - 1)
            root = np.asarray(np.linalg.qr(np.concatenate([root, rows]), mode="r"))
        return cls(mean, root)


def frechet_distance(x: Gaussian, y: Gaussian) -> float:
    """FD of two fitted sets: 0 where mean and covariance agree."""
    # Σ_xΣ_y = R_xᵀR_xR_yᵀR_y has the eigenvalues of (R_xR_yᵀ)(R_xR_yᵀ)ᵀ, so the trace of its root is the sum of the
    # singular values of R_xR_yᵀ: no matrix root, no complex numbers.
    shared = np.linalg.svd(x.root @ y.root.T, compute_uv=False).sum()
    distance = ((x.mean - y.mean) ** 2).sum() + (x.root**2).sum() + (y.root**2).sum() - 2 * shared
    return max(float(distance), 0.0)


def distances_without_each(x: Gaussian, groups: Sequence[NDArray[np.floating]]) -> Matrix:
    """FD of `x` and all groups of features (n_g, d) but one, each left out in turn, (G,); a single row left has Σ = 0.

    The singular values of R_xR_yᵀ are the roots of the eigenvalues of R_xΣ_yR_xᵀ, a sum over groups, or of the inner
    products of the rows where these are fewer: a few times quicker than each distance alone, and rounded to half the
    digits, which is plenty for how far it varies.
    """
    sizes = np.array([len(group) for group in groups])
    rows = np.concatenate(groups).astype(np.float64)
    centre = rows.mean(axis=0)
    rows -= centre
    shown, members = rows @ x.root.T, np.repeat(np.arange(len(sizes)), sizes)
    few = sizes.sum() <= len(x.root)
    crossed = shown @ shown.T if few else shown.T @ shown
    lengths = np.einsum("nd,nd->n", rows, rows)
    values = []
    for out, size in enumerate(sizes):
        stay = members != out
        count = sizes.sum() - size
        mean = rows[stay].mean(axis=0)
        if few:
            left = crossed[np.ix_(stay, stay)]
            means = left.mean(axis=0)
            scatter = left - means - means[:, None] + means.mean()
        else:
            gone, middle = shown[~stay], x.root @ mean
            scatter = crossed - gone.T @ gone - count * np.outer(middle, middle)
        shares = np.maximum(np.linalg.eigvalsh(scatter / max(count - 1, 1)), 0)
        # What rounding leaves of a zero would count with its root.
        shared = np.sqrt(shares[shares > shares.max() * len(shares) * np.finfo(float).eps]).sum()
        spread = (lengths[stay].sum() - count * (mean**2).sum()) / max(count - 1, 1)
        values.append(((x.mean - centre - mean) ** 2).sum() + (x.root**2).sum() + spread - 2 * shared)
    distances: Matrix = np.maximum(np.array(values), 0)
    return distances
