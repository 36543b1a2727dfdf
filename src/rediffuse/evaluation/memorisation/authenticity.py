"""Generated images beside the training images nearest to them: how near is too near?

For a generated image y let x* be the training image nearest to it, and x** the other training image nearest to x*. An
image is authentic where d(y, x*) > d(x*, x**) (Alaa et al., 2022, section 3.3); their ratio says how near it comes.
Training images with equal features count as one: else each image near a duplicate would be authentic.

Features see what their extractor learned to see. Two images that differ in what it ignores (texture or exact shade,
for one that was trained to tell classes) are equal to it, and a copy that is moved or recoloured may be far. Only the
comparison with new real images, which it sees likewise, means anything; and none of it proves privacy.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binom

from rediffuse.evaluation.extractors.classifier import Images
from rediffuse.evaluation.extractors.features import Features
from rediffuse.evaluation.intervals import CONFIDENCE, Estimate
from rediffuse.evaluation.memorisation.nearest import Matrix, nearest
from rediffuse.evaluation.memorisation.separation import Separation

COPY_QUANTILE = 0.01
"""Of the ratios of new real images: what is as near as this, or nearer, is called a copy."""


@dataclass(frozen=True)
class Nearness:
    """How near each of N images comes to the training images, all (N,).

    Args:
        train: row of the nearest training image.
        distances: to it.
        apart: from it to the training image nearest to it.
    """

    train: NDArray[np.int64]
    distances: Matrix
    apart: Matrix

    @property
    def authentic(self) -> NDArray[np.bool_]:
        """Which images are farther from x* than x** is."""
        return self.distances > self.apart

    @property
    def ratios(self) -> Matrix:
        """d(y, x*) / d(x*, x**). Where all training images look alike: 0 for one that looks like them, else 1."""
        alone = (self.distances > 0).astype(np.float64)
        return np.divide(self.distances, self.apart, out=alone, where=self.apart > 0)


@dataclass(frozen=True)
class TrainingSet:
    """Training images that look different from each other.

    Args:
        features: of them, (K, d).
        rows: of each the first row in the training split, (K,).
    """

    features: Features
    rows: NDArray[np.int64]

    @classmethod
    def of(cls, features: Features) -> "TrainingSet":
        """Of the features (N, d) of the training split."""
        # Negative zeros are equal to zeros, but not their bytes.
        positive = np.ascontiguousarray(features + 0)
        whole = positive.view(np.dtype((np.void, positive.dtype.itemsize * positive.shape[1])))[:, 0]
        rows = np.sort(np.unique(whole, return_index=True)[1])
        return cls(features[rows], rows)

    def nearness(self, features: Features) -> Nearness:
        """Of images with features (N, d)."""
        found = nearest(features, self.features, 1)
        reached, places = np.unique(found.indices[:, 0], return_inverse=True)
        # The nearest of all to a training image is that image itself.
        own = np.zeros(len(reached))
        if len(self.features) > 1:
            own = nearest(self.features[reached], self.features, 2).distances[:, 1]
        return Nearness(self.rows[found.indices[:, 0]], found.distances[:, 0], own[places])


def authenticity_scores(generated: Nearness, test: Nearness, draw: np.random.Generator) -> dict[str, float]:
    """authenticity, nearest_ratio and copies, each with its interval and floor.

    copies is the share of images as near as the nearest hundredth of the test images, and copies_floor what of these
    is: more than 0.01 where there are fewer than 100, or many equally near, as copies of training images are.

    Args:
        generated: one image or more.
        test: of new real images, likewise.
        draw: of the interval of copies.
    """
    near = Separation(-generated.ratios, -test.ratios)
    return {
        **Estimate.of_share(generated.authentic).named("authenticity"),
        **Estimate.of_share(test.authentic).named("authenticity_floor"),
        **_median(generated.ratios).named("nearest_ratio"),
        **_median(test.ratios).named("nearest_ratio_floor"),
        **near.reached(COPY_QUANTILE, draw, most=0.0).named("copies"),
        "copies_floor": Separation(near.second, near.second).reached(COPY_QUANTILE, draw, most=0.0).value,
    }


def pixel_copies(train: Images, *groups: Images) -> list[int]:
    """How many images of each group are a training image, pixel for pixel."""
    known = {_digest(image) for image in train}
    return [sum(_digest(image) in known for image in images) for images in groups]


@dataclass(frozen=True)
class Suspects:
    """The generated images most like a copy, the nearest first.

    Args:
        generated: their places among the generated images, (S,).
        train: rows of the training images nearest to each, (S, count), nearest first.
        distances: to them, (S, count).
        ratios: d(y, x*) / d(x*, x**), (S,).
    """

    generated: NDArray[np.int64]
    train: NDArray[np.int64]
    distances: Matrix
    ratios: Matrix

    def table(self, ids: tuple[str, ...]) -> pd.DataFrame:
        """A row a suspect: generated, train (the id), distance, ratio.

        Args:
            ids: of the training split.
        """
        return pd.DataFrame(
            {
                "generated": self.generated,
                "train": [ids[row] for row in self.train[:, 0]],
                "distance": self.distances[:, 0],
                "ratio": self.ratios,
            }
        )


def suspicious_pairs(nearness: Nearness, features: Features, train: Features, *, images: int, count: int) -> Suspects:
    """The `images` generated images with the lowest ratios, each with the `count` training images nearest to it.

    Args:
        nearness: of the generated images, whose `features` are these, (N, d).
        train: features of the training split.
        images, count: at most; fewer where there are no more.
    """
    ratios = nearness.ratios
    # Of equal ratios the nearer, then the first.
    chosen = np.lexsort((nearness.distances, ratios))[:images]
    found = nearest(features[chosen], train, min(count, len(train)))
    return Suspects(chosen, found.indices, found.distances, ratios[chosen])


def _digest(image: Images) -> bytes:
    return hashlib.sha256(image.tobytes()).digest()


def _median(values: Matrix) -> Estimate:
    """The median of independent values (n,), between the order statistics that cover it whatever their distribution.

    Of fewer than six values no two cover it surely enough: then between the least and the greatest.
    """
    rising, n = np.sort(values), len(values)
    first = max(int(binom.ppf(0.5 - CONFIDENCE / 2, n, 0.5)) - 1, 0)
    return Estimate(float(np.median(values)), float(rising[first]), float(rising[n - 1 - first]))
