"""The one protocol by which every set of images is scored, the real test set among them.

Distances between finite sets are not 0 even where both come from one distribution, and they depend on how many images
are compared. So each score has a floor, the score of the real test images, and is computed at the size of its floor:
the generated images are cut into disjoint folds of n = min(M, n_test) images, each fold is held against all real
training images, and the score is the mean over the folds. The floor is the same function of the test images. A perfect
generator reaches its floor, whatever the number of images.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rediffuse.errors import UserError
from rediffuse.evaluation.extractors.features import Features
from rediffuse.evaluation.fidelity.measures import Manifold, harmonic_mean, kernel_distances, precision_and_recall
from rediffuse.frechet import Gaussian, frechet_distance
from rediffuse.seeds import hashed_seed


@dataclass(frozen=True, kw_only=True)
class FidelitySettings:
    """What the scores depend on beside the features.

    Args:
        seed: key of the subsets' draw.
        neighbours: k of the manifolds behind precision and recall.
        manifold_points: real training images that make the real manifold, drawn by key where there are more.
        kid_subsets, kid_subset_size: subsets KID is averaged over, and images in each.
    """

    seed: int
    neighbours: int
    manifold_points: int
    kid_subsets: int
    kid_subset_size: int


@dataclass(frozen=True)
class Fidelity:
    """Scores by name, and the sizes they were computed at."""

    scores: dict[str, float]
    images: int
    folds: int


def least_images(neighbours: int) -> int:
    """Images a set needs to be scored: a k-th neighbour for each (k = `neighbours`), and two for a covariance."""
    return max(neighbours + 1, 2)


def check_splits(train: int, test: int, neighbours: int) -> None:
    """Refuse real splits that are too small to score anything against.

    Args:
        train, test: images in each.
        neighbours: `evaluate.neighbours`.

    Raises:
        UserError: one of them holds fewer than `least_images(neighbours)`.
    """
    least = least_images(neighbours)
    split, count = min(("train", train), ("test", test), key=lambda pair: pair[1])
    if count < least:
        lower = f"lower evaluate.neighbours to at most {count - 1}, or " if count > 1 else ""
        raise UserError(
            f"the split {split} holds {count} image{'s' * (count != 1)}, but scoring with evaluate.neighbours "
            f"{neighbours} needs at least {least}; {lower}bring more images for {split}"
        )


def score_fidelity(train: Features, test: Features, generated: Features, settings: FidelitySettings) -> Fidelity:
    """The distribution scores of generated images, with the floor beside each.

    Folds are cut in the order of `generated`: sampling lets the labels cycle through the classes, so each fold shows
    every class alike, as the test set does. Rows sorted by class must be shuffled first.

    Args:
        train, test, generated: features (N, d) by one extractor; each holds more than `settings.neighbours` rows.

    Returns:
        scores named fd, kid, precision, recall, f1: means over the folds. With `_floor`: the same of the real test
        images. With `_sd`: the standard deviation over the folds, where there are two or more. fd_full: the Fréchet
        distance of all generated images at once, comparable only with itself at the same number of images.
        kid_subset_sd: the standard deviation of KID's estimates over the subsets of a fold, the mean over the folds.
    """
    size = min(len(generated), len(test))
    reference = _Reference.of(train, settings)
    # The test rows may be sorted by class, and where they make several folds each should show every class.
    shuffled = test[_draw(settings, "test").permutation(len(test))]
    floors = reference.scores(shuffled, size)
    scores = {"fd_full": frechet_distance(reference.gaussian, Gaussian.of(generated))}
    for name, values in reference.scores(generated, size).items():
        scores[name] = float(values.mean())
        if name == "kid_subset_sd":
            continue
        scores[f"{name}_floor"] = float(floors[name].mean())
        if len(values) > 1:
            scores[f"{name}_sd"] = float(values.std(ddof=1))
    return Fidelity(scores, images=size, folds=len(generated) // size)


@dataclass(frozen=True)
class _Reference:
    """The real training images as each score needs them, computed once for all folds."""

    train: Features
    gaussian: Gaussian
    manifold: Manifold
    settings: FidelitySettings

    @classmethod
    def of(cls, train: Features, settings: FidelitySettings) -> "_Reference":
        some = _draw(settings, "manifold").permutation(len(train))[: settings.manifold_points]
        return cls(train, Gaussian.of(train), Manifold.of(train[some], settings.neighbours), settings)

    def scores(self, features: Features, size: int) -> dict[str, NDArray[np.float64]]:
        """Each score of each whole fold of `size` rows."""
        folds = [self._fold(features[at * size : (at + 1) * size], at) for at in range(len(features) // size)]
        return {name: np.array([fold[name] for fold in folds]) for name in folds[0]}

    def _fold(self, features: Features, fold: int) -> dict[str, float]:
        settings = self.settings
        kernel = kernel_distances(
            self.train,
            features,
            subsets=settings.kid_subsets,
            size=settings.kid_subset_size,
            draw=_draw(settings, "kid", fold),
        )
        precision, recall = precision_and_recall(self.manifold, Manifold.of(features, settings.neighbours))
        return {
            "fd": frechet_distance(self.gaussian, Gaussian.of(features)),
            "kid": float(kernel.mean()),
            "kid_subset_sd": float(kernel.std()),
            "precision": precision,
            "recall": recall,
            "f1": harmonic_mean(precision, recall),
        }


def _draw(settings: FidelitySettings, use: str, fold: int = 0) -> np.random.Generator:
    return np.random.default_rng(hashed_seed(settings.seed, f"evaluate/{use}", index=fold))
