"""What the distribution scores depend on beside the features, and what real splits they need."""

from dataclasses import dataclass, fields

import numpy as np

from rediffuse.errors import UserError
from rediffuse.params import EvaluateParams
from rediffuse.seeds import hashed_seed


@dataclass(frozen=True, kw_only=True)
class FidelitySettings:
    """Keys of the section `evaluate`, and the seed.

    Args:
        seed: key of all draws.
        neighbours: k of the manifolds behind precision and recall.
        coverage_neighbours: k of the balls behind density and coverage.
        manifold_points: real training images behind these four and the MMD, drawn by key where there are more.
        kid_subsets, kid_subset_size: subsets KID is averaged over, and images in each.
    """

    seed: int
    neighbours: int
    coverage_neighbours: int
    manifold_points: int
    kid_subsets: int
    kid_subset_size: int

    @classmethod
    def of(cls, params: EvaluateParams, *, seed: int) -> "FidelitySettings":
        """Those of the section `evaluate`."""
        return cls(seed=seed, **params.model_dump(include={field.name for field in fields(cls)} - {"seed"}))

    def draw(self, use: str, index: int = 0) -> np.random.Generator:
        """The generator of one use."""
        return np.random.default_rng(hashed_seed(self.seed, f"evaluate/{use}", index=index))


def least_images(neighbours: int) -> int:
    """Images a set needs to be scored: a k-th neighbour for each (k = `neighbours`), and two for a covariance."""
    return max(neighbours + 1, 2)


def check_splits(train: int, test: int, neighbours: int, coverage_neighbours: int) -> None:
    """Refuse real splits that are too small to score anything against.

    Args:
        train, test: images in each.
        neighbours: `evaluate.neighbours`, which both have to exceed.
        coverage_neighbours: `evaluate.coverage_neighbours`, which the balls around training images need.

    Raises:
        UserError: one of them holds too few.
    """
    splits = [
        ("train", train, "neighbours", neighbours),
        ("test", test, "neighbours", neighbours),
        ("train", train, "coverage_neighbours", coverage_neighbours),
    ]
    split, count, key, rank = max(splits, key=lambda row: least_images(row[3]) - row[1])
    least = least_images(rank)
    if count < least:
        lower = f"lower evaluate.{key} to at most {count - 1}, or " if count > 1 else ""
        raise UserError(
            f"the split {split} holds {count} image{'s' * (count != 1)}, but scoring with evaluate.{key} "
            f"{rank} needs at least {least}; {lower}bring more images for {split}"
        )
