"""What classifiers trained on real images know of the test images: all real ones, and n of them for several n.

They depend on real data alone, so the stage `reference` trains them once for all models. For each training and test
image it keeps whether the answer is right: so each generated set is compared on the same images.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from rediffuse import files
from rediffuse.data.dataset import Examples
from rediffuse.errors import UserError
from rediffuse.evaluation.extractors.classifier import Classifier, Labels
from rediffuse.evaluation.extractors.features import classify, extract
from rediffuse.evaluation.utility.pairs import Pairs, stratified_order
from rediffuse.evaluation.utility.repeated import Hits, share_right
from rediffuse.evaluation.utility.settings import ALL, UtilitySettings

FILE = "real_accuracy.safetensors"
STREAM = "reference"


@dataclass(frozen=True)
class RealTrainings:
    """Which labelled test images each training on real images gets right.

    Args:
        hits: (R, n) by the number of training images ("100", "all"); "all" is always there, its first row the judge's.
    """

    hits: Mapping[str, Hits]

    def metrics(self) -> dict[str, dict[str, float]]:
        """The accuracy by the number of training images, with its interval."""
        return {name: share_right(hits).named("accuracy") for name, hits in self.hits.items()}


def check_labels(splits: Mapping[str, Examples], classes: tuple[str, ...]) -> None:
    """Refuse data with classes of which some split shows no example.

    Raises:
        UserError: no image of a split has a label.
    """
    for name, split in splits.items():
        if classes and not (split.labels >= 0).any():
            raise UserError(
                f"no image of the split {name} ({len(split)} images) has a label, but the data has classes; "
                "label more images, or bring them without any label"
            )


def some_real(train: Pairs, count: int, settings: UtilitySettings, repeat: int) -> Pairs:
    """`count` real training images with their class shares kept, drawn by key for each repeat; all in their order."""
    if count >= len(train):
        return train
    order = stratified_order(train.labels, settings.seed, f"{STREAM}/real_images", repeat)
    return train[np.sort(order[:count])]


def train_on_real(train: Pairs, test: Pairs, judge: Classifier, settings: UtilitySettings) -> RealTrainings:
    """Train `settings.repeats` times on n real images, for each n of `settings.real_counts` that there are.

    Args:
        judge: the classifier trained on all of `train`, as the first of its repeats.
    """

    def right(network: Classifier) -> Hits:
        return np.asarray(classify(network, extract(network, test.images)) == test.labels)

    def trained(count: int) -> Hits:
        first = [right(judge)] if count == len(train) else []
        rest = [
            right(settings.trained(some_real(train, count, settings, repeat), STREAM, repeat))
            for repeat in range(len(first), settings.repeats)
        ]
        return np.array([*first, *rest])

    counts = {**settings.counts_within(len(train)), ALL: len(train)}
    by_count = {count: trained(count) for count in sorted(set(counts.values()))}
    return RealTrainings({name: by_count[count] for name, count in counts.items()})


def write_real_trainings(folder: Path, trainings: RealTrainings) -> None:
    """Write them into `folder`, by replace, the same bytes for the same content."""
    with files.replacing(folder / FILE) as temporary:
        save_file({name: hits.astype(np.uint8) for name, hits in trainings.hits.items()}, temporary)


def read_real_trainings(folder: Path, train: Labels, test: Labels, settings: UtilitySettings) -> RealTrainings:
    """What `write_real_trainings` wrote.

    Args:
        train, test: labels of the real splits, -1 where there is none.

    Raises:
        UserError: the file is missing or holds something else than these settings and images need.
    """
    path = folder / FILE
    try:
        stored = load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} can't be read: {error}; run the stage reference again") from None
    expected = (settings.repeats, int((test >= 0).sum()))
    for name in {**settings.counts_within(int((train >= 0).sum())), ALL: 0}:
        found = stored[name].shape if name in stored else "nothing"
        if found != expected:
            raise UserError(
                f"{path} holds {found} for {name} real images, but params.yaml: reference and the test images ask for "
                f"{expected}; run the stage reference again"
            )
    return RealTrainings({name: hits.astype(bool) for name, hits in stored.items()})
