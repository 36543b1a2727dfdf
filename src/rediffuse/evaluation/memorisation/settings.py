"""What the numbers of the audit depend on beside images, features and model."""

from dataclasses import dataclass

import numpy as np

from rediffuse.seeds import hashed_seed

FALSE_POSITIVES = 0.01
"""Share of test images that may be taken for training images."""


@dataclass(frozen=True, kw_only=True)
class MemorisationSettings:
    """Of `evaluate.memorisation` and `train`.

    Args:
        seed: key of all draws, and of the canaries that were planted.
        membership_images: training images, and as many test images, at most; 0: no membership inference.
        membership_levels: noise levels that each image is seen at.
        canaries: invented images that were planted among the training images.
        canary_repeats: times that each was.
    """

    seed: int
    membership_images: int
    membership_levels: int
    canaries: int
    canary_repeats: int

    def draw(self, use: str) -> np.random.Generator:
        """The generator of one use."""
        return np.random.default_rng(hashed_seed(self.seed, f"evaluate/{use}"))
