"""What the section `utility` depends on beside the images."""

from dataclasses import dataclass

import torch

from rediffuse.evaluation.extractors.classifier import Classifier, Shape
from rediffuse.evaluation.utility.pairs import Pairs
from rediffuse.evaluation.utility.recipe import Recipe, train_classifier
from rediffuse.params.reference import RealCount, ReferenceParams

ALL = "all"


@dataclass(frozen=True, kw_only=True)
class UtilitySettings:
    """Alike for classifiers of real and of generated images, so that nothing but the images differs.

    Args:
        shape: of every classifier, the judge's.
        recipe: by which each of them is trained.
        repeats: trainings from other seeds.
        real_counts: real training images to which generated ones are added.
        seed: key of every draw.
        device: where they are trained.
    """

    shape: Shape
    recipe: Recipe
    repeats: int
    real_counts: tuple[RealCount, ...]
    seed: int
    device: torch.device

    @classmethod
    def of(cls, params: ReferenceParams, shape: Shape, *, seed: int, device: torch.device) -> "UtilitySettings":
        """As the section `reference` of params.yaml asks."""
        return cls(
            shape=shape,
            recipe=Recipe(steps=params.steps, batch_size=params.batch_size, lr=params.lr),
            repeats=params.repeats,
            real_counts=params.real_counts,
            seed=seed,
            device=device,
        )

    def trained(self, pairs: Pairs, stream: str, repeat: int) -> Classifier:
        """A classifier of `pairs`; `stream` and `repeat` are the key of its training."""
        return train_classifier(
            pairs.images,
            pairs.labels,
            shape=self.shape,
            recipe=self.recipe,
            seed=self.seed,
            stream=stream,
            device=self.device,
            repeat=repeat,
        )

    def counts_within(self, available: int) -> dict[str, int]:
        """The real counts that `available` images suffice for, by name ("100", "all")."""
        counts = {str(count): count if isinstance(count, int) else available for count in self.real_counts}
        return {name: count for name, count in counts.items() if count <= available}
