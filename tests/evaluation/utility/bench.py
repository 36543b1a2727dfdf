"""Three labelled real splits with a judge, on which tests set generated images."""

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

from rediffuse.data.dataset import Examples
from rediffuse.evaluation.extractors.classifier import Classifier, Images, Labels
from rediffuse.evaluation.extractors.features import classify, extract
from rediffuse.evaluation.samples import Samples
from rediffuse.evaluation.utility.real_trainings import RealTrainings
from rediffuse.evaluation.utility.section import Utility, utility_metrics
from rediffuse.evaluation.utility.settings import UtilitySettings

NAMES = tuple("0123456789")
JUDGE = SimpleNamespace(name="classifier", digest="5da787c9bb")


def examples(images: Images, labels: Labels) -> Examples:
    return Examples(images, labels, tuple(map(str, range(len(labels)))))


@dataclass(frozen=True)
class Bench:
    """Real splits with all that `utility_metrics` needs beside the samples."""

    train: Examples
    val: Examples
    test: Examples
    judge: Classifier
    real: RealTrainings
    settings: UtilitySettings

    def score(self, images: Images, labels: Labels, **changes: Any) -> Utility:
        """Of generated pairs; `changes` are of the settings."""
        return utility_metrics(
            Samples(images, labels),
            classify(self.judge, extract(self.judge, images)),
            train=self.train,
            val=self.val,
            test=self.test,
            classes=NAMES,
            real=self.real,
            judge=JUDGE,
            settings=replace(self.settings, **changes),
        )

    def metrics(self, images: Images, labels: Labels, **changes: Any) -> dict[str, Any]:
        found = self.score(images, labels, **changes).metrics
        assert found is not None
        return found
