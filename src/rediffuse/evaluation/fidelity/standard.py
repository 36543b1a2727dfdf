"""What every set of one size is held against: the real images as each score needs them, computed once."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rediffuse.evaluation.extractors.features import Features
from rediffuse.evaluation.fidelity import kernels
from rediffuse.evaluation.fidelity.distances import Matrix, Points
from rediffuse.evaluation.fidelity.groups import Groups
from rediffuse.evaluation.fidelity.kernels import GaussianKernel, Kernel, cubic
from rediffuse.evaluation.fidelity.manifold import Manifold, harmonic_mean, overlap, real_radii
from rediffuse.evaluation.fidelity.settings import FidelitySettings
from rediffuse.evaluation.intervals import jackknife_error
from rediffuse.evaluation.row_order import own_order
from rediffuse.frechet import Gaussian, distances_without_each, frechet_distance


@dataclass(frozen=True)
class FoldScores:
    """One set of n images against the standard.

    Args:
        values: fd, kid, mmd, precision, recall, f1, density, coverage.
        kid_subset_sd: the standard deviation of KID's estimates over the subsets.
        errors: standard errors by the jackknife, of those scores that need it; empty unless asked for.
        precise, density: what precision and density are the means of, one an image, (n,).
        recalling: which images have a real one in their ball, (n,).
    """

    values: dict[str, float]
    kid_subset_sd: float
    errors: dict[str, float]
    precise: NDArray[np.bool_]
    density: Matrix
    recalling: NDArray[np.bool_]


class Standard:
    """The real images that sets are compared with.

    Args:
        train: their features (N, d), in any order: what is drawn of them is drawn from the set's own.
        settings: of the section `evaluate`.
    """

    def __init__(self, train: Features, settings: FidelitySettings) -> None:
        self.train, self.settings = train[own_order(train)], settings
        self.gaussian = Gaussian.of(self.train)
        some = settings.draw("manifold").permutation(len(train))[: settings.manifold_points]
        self.points = Points(self.train[some], centre=self.gaussian.mean)
        # Of all training images, so that no draw decides on the unit of the distances.
        self.kernel = GaussianKernel.suited_to(self.gaussian)
        radii, self.coverage_radii = real_radii(self.points, (settings.neighbours, settings.coverage_neighbours))
        self.manifold = Manifold(self.points, radii)

    @cached_property
    def _own(self) -> list[float]:
        """Means of both kernels over the pairs of real images."""
        return kernels.mean_within(self.points, (cubic, self.kernel))

    def fold(self, features: Features, index: int, *, errors: bool) -> FoldScores:
        """Score one set (n, d), the `index`-th of its kind, with or without standard errors."""
        settings = self.settings
        groups = Groups.of(len(features)) if errors else Groups.one(len(features))
        points = Points(features, centre=self.gaussian.mean)
        subsets = kernels.kernel_distances(
            self.train,
            features,
            subsets=settings.kid_subsets,
            size=settings.kid_subset_size,
            draw=settings.draw("kid", index),
        )
        found = overlap(
            self.manifold,
            self.coverage_radii,
            Manifold.of(points, settings.neighbours, groups if errors else None),
            coverage_neighbours=settings.coverage_neighbours,
            groups=groups,
        )
        distances = self._kernel_distances(points, groups, both=errors)
        fd = frechet_distance(self.gaussian, Gaussian.of(features))
        precision = float(found.precise.mean())
        values = {
            "fd": fd,
            "kid": float(subsets.mean()),
            "mmd": kernels.SCALE * distances["mmd"][0],
            "precision": precision,
            "recall": found.recall,
            "f1": harmonic_mean(precision, found.recall),
            "density": float(found.density.mean()),
            "coverage": found.coverage,
        }
        spread = float(subsets.std())
        if not errors:
            return FoldScores(values, spread, {}, found.precise, found.density, found.recalling)

        hits = np.add.reduceat(found.precise.astype(np.int64), groups.starts)
        left = np.maximum(groups.size - groups.sizes, 1)
        without = {
            "fd": distances_without_each(self.gaussian, np.split(features, groups.starts[1:])),
            "mmd": kernels.SCALE * distances["mmd"][1],
            "recall": found.recall_without,
            "f1": _f1_without((hits.sum() - hits) / left, found.recall_without),
            "coverage": found.coverage_without,
        }
        made = {name: jackknife_error(values[name], series, groups.sizes) for name, series in without.items()}
        # KID is the complete distance but for the draw of the subsets, which are independent given the images.
        complete = jackknife_error(*distances["kid"], groups.sizes)
        made["kid"] = float(np.hypot(complete, spread / np.sqrt(max(settings.kid_subsets - 1, 1))))
        return FoldScores(values, spread, made, found.precise, found.density, found.recalling)

    def _kernel_distances(self, points: Points, groups: Groups, *, both: bool) -> dict[str, tuple[float, Matrix]]:
        """Unbiased MMD² of whole sets, and without each group: of the Gaussian kernel, of KID's too where asked for."""
        wanted: dict[str, tuple[float, Kernel]] = {"kid": (self._own[0], cubic), "mmd": (self._own[1], self.kernel)}
        if not both:
            del wanted["kid"]
        chosen = tuple(kernel for _, kernel in wanted.values())
        across, own = (
            kernels.between(self.points, points, chosen, groups),
            kernels.within(points, chosen, groups),
        )
        return {
            name: kernels.distance_of(mean, across[at], own[at], len(self.points), groups)
            for at, (name, (mean, _)) in enumerate(wanted.items())
        }


def _f1_without(precision: Matrix, recall: Matrix) -> Matrix:
    return np.array([harmonic_mean(p, r) for p, r in zip(precision.tolist(), recall.tolist(), strict=True)])
