"""The Fréchet distance of two sets of feature vectors, each seen as a Gaussian (Heusel et al., 2017). All in float64.

FD = |μ_x − μ_y|² + tr(Σ_x + Σ_y − 2(Σ_xΣ_y)^½), (μ, Σ) a set's mean and covariance. It shrinks as sets grow: compare
only numbers of equal sizes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Gaussian:
    """A set of features as the Fréchet distance sees it: mean (d,) and a root R with Σ = RᵀR, at most d × d."""

    mean: Matrix
    root: Matrix

    @classmethod
    def of(cls, features: NDArray[np.floating]) -> "Gaussian":
        """Fitted to features (N, d), N at least 2, with the unbiased covariance (N − 1)."""
        if len(features) < 2:
            raise ValueError(f"{len(features)} images are too few: at least 2 are needed")
        points = np.asarray(features, np.float64)
        mean = points.mean(axis=0)
        # R from a QR decomposition of the centred rows: Σ is never formed, so nothing is lost to squaring, and a
        # singular Σ (fewer images than dimensions) needs no care.
        root: Matrix = np.asarray(np.linalg.qr((points - mean) / np.sqrt(len(points) - 1), mode="r"))
        return cls(mean, root)


def frechet_distance(x: Gaussian, y: Gaussian) -> float:
    """FD of two fitted sets: 0 where mean and covariance agree."""
    # Σ_xΣ_y = R_xᵀR_xR_yᵀR_y has the eigenvalues of (R_xR_yᵀ)(R_xR_yᵀ)ᵀ, so the trace of its root is the sum of the
    # singular values of R_xR_yᵀ: no matrix root, no complex numbers.
    shared = np.linalg.svd(x.root @ y.root.T, compute_uv=False).sum()
    distance = ((x.mean - y.mean) ** 2).sum() + (x.root**2).sum() + (y.root**2).sum() - 2 * shared
    return max(float(distance), 0.0)
