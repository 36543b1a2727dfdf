"""What generated images are worth: FD in one classifier's features, CAS, and GAN-test, for every contender alike."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from benchmarks.command import CHECKOUT
from benchmarks.pictures import Pictures
from benchmarks.turns import REPEATABLE
from rediffuse.evaluation.extractors.classifier import Classifier, Shape
from rediffuse.evaluation.extractors.features import classify, extract
from rediffuse.evaluation.utility.recipe import Recipe, train_classifier
from rediffuse.frechet import Gaussian, frechet_distance
from rediffuse.params import load_params

SIZES = (360, 1000, 2000, 5000, 10_000)
"""FD shrinks as sets grow: it is also told of the first so many images, to be compared with smaller sets."""
STEPS = {"digits": 600, "fashion": 1407, "colour32": 600}
"""Of a classifier: those of params.yaml, and three epochs of Fashion-MNIST."""


@dataclass(frozen=True)
class Judge:
    """A classifier of the real training images, and what it says of them.

    Args:
        data: real images.
        classifier: trained on all of its training images, on the test images never.
        real: the training images' features as a Gaussian.
        recipe: by which every classifier is trained.
        seed: of every training.
        accuracy: of the classifier on the test images.
        floors: FD of the first so many test images, by their number.
    """

    data: Pictures
    classifier: Classifier
    real: Gaussian
    recipe: Recipe
    seed: int
    accuracy: float
    floors: dict[int, float]

    @classmethod
    def of(cls, data: Pictures, device: torch.device, seed: int, steps: int | None = None) -> "Judge":
        """Train the classifier.

        Args:
            steps: of its training; None: those of STEPS.
        """
        params = load_params(CHECKOUT / "params.yaml").reference
        shape = Shape.of(data.train.shape[1:], classes=len(data.classes), base=params.width, features=params.features)
        recipe = Recipe(steps=steps or STEPS[data.name], batch_size=params.batch_size, lr=params.lr)
        with REPEATABLE.held():
            classifier = train_classifier(
                data.train, data.train_labels, shape=shape, recipe=recipe, seed=seed, stream="reference", device=device
            )
            real = Gaussian.of(extract(classifier, data.train))
            seen = extract(classifier, data.test)
            accuracy = float((classify(classifier, seen) == data.test_labels).mean())
        return cls(data, classifier, real, recipe, seed, accuracy, _distances(real, seen))

    def score(
        self, images: np.ndarray, labels: np.ndarray, *, labelled: bool = True, cas: bool = True
    ) -> dict[str, Any]:
        """FD by the number of images, GAN-test accuracy and CAS accuracy of generated images.

        Args:
            images: N×C×H×W, uint8, in any order of their classes that mixes them.
            labels: what was asked for.
            labelled: whether the images follow them; else only FD is told.
            cas: whether to train a classifier on them for its accuracy on the real test images.
        """
        with REPEATABLE.held():
            features = extract(self.classifier, images)
            distances = _distances(self.real, features)
            found: dict[str, Any] = {
                "images": len(images),
                "fd": distances[len(images)],
                "fd_by_count": {str(count): distance for count, distance in distances.items()},
            }
            if shared := set(distances) & set(self.floors):
                # Of as many images as test images, because FD depends on their number.
                count = max(shared)
                found |= {
                    "floor_images": count,
                    "fd_floor": self.floors[count],
                    "fd_over_floor": distances[count] / max(self.floors[count], 1e-9),
                }
            if labelled:
                found["gan_test_accuracy"] = float((classify(self.classifier, features) == labels).mean())
            if labelled and cas:
                found["cas_accuracy"] = self._cas(images, labels)
        return found

    def real_cas(self, count: int) -> float:
        """CAS accuracy of so many real training images: what images as good as real ones would have."""
        some = np.random.default_rng(self.seed).permutation(len(self.data.train))[:count]
        with REPEATABLE.held():
            return self._cas(self.data.train[some], self.data.train_labels[some])

    def _cas(self, images: np.ndarray, labels: np.ndarray) -> float:
        network = train_classifier(
            images,
            labels,
            shape=self.classifier.shape,
            recipe=self.recipe,
            seed=self.seed,
            stream="evaluate/cas",
            device=self.classifier.scale.device,
        )
        return float((classify(network, extract(network, self.data.test)) == self.data.test_labels).mean())


def _distances(real: Gaussian, features: np.ndarray) -> dict[int, float]:
    """FD of the first so many, and of all."""
    counts = sorted({count for count in SIZES if count < len(features)} | {len(features)})
    return {count: frechet_distance(real, Gaussian.of(features[:count])) for count in counts}
