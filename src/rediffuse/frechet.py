"""The Fréchet distance of two sets of feature vectors, each seen as a Gaussian (Heusel et al., 2017). All in float64.

FD = |μ_x − μ_y|² + tr(Σ_x + Σ_y − 2(Σ_xΣ_y)^½), (μ, Σ) a set's mean and covariance. It shrinks as sets grow: compare
only numbers of equal sizes.
"""

from collections.abc import Sequence
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

    @classmethod
    def without_each(cls, groups: Sequence[NDArray[np.floating]]) -> list["Gaussian"]:
        """Fitted to all groups of features (n_g, d) but one, each left out in turn; a single row left has Σ = 0.

        The scatter about the mean of those that stay is the sum of their scatters about their own means and of the
        scatter of those means: sums only, so that nothing cancels, and each group is decomposed once.
        """
        parts = [np.asarray(group, np.float64) for group in groups]
        sizes, means = [len(part) for part in parts], [part.mean(axis=0) for part in parts]
        roots = [np.linalg.qr(part - mean, mode="r") for part, mean in zip(parts, means, strict=True)]
        fitted = []
        for out in range(len(parts)):
            stay = [at for at in range(len(parts)) if at != out]
            count = sum(sizes[at] for at in stay)
            mean = np.sum([sizes[at] * means[at] for at in stay], axis=0) / count
            spread = [np.sqrt(sizes[at]) * (means[at] - mean)[None] for at in stay]
            rows = np.concatenate([*(roots[at] for at in stay), *spread]) / np.sqrt(max(count - 1, 1))
            fitted.append(cls(mean, np.asarray(np.linalg.qr(rows, mode="r"))))
        return fitted


def frechet_distance(x: Gaussian, y: Gaussian) -> float:
    """FD of two fitted sets: 0 where mean and covariance agree."""
    # Σ_xΣ_y = R_xᵀR_xR_yᵀR_y has the eigenvalues of (R_xR_yᵀ)(R_xR_yᵀ)ᵀ, so the trace of its root is the sum of the
    # singular values of R_xR_yᵀ: no matrix root, no complex numbers.
    shared = np.linalg.svd(x.root @ y.root.T, compute_uv=False).sum()
    distance = ((x.mean - y.mean) ** 2).sum() + (x.root**2).sum() + (y.root**2).sum() - 2 * shared
    return max(float(distance), 0.0)
