"""Augmentation: what do generated images add to n real ones, for a classifier of real test images?

Each training on n real images is set against one on the same n images and the generated ones, by the same recipe, from
the same initial weights; a gain is the mean of these paired differences in accuracy. Repeats differ in their seed and
in the choice of the n images, so that the interval holds both.
"""

import numpy as np

from rediffuse.evaluation.extractors.features import classify, extract
from rediffuse.evaluation.utility.pairs import Pairs
from rediffuse.evaluation.utility.real_trainings import STREAM, RealTrainings, some_real
from rediffuse.evaluation.utility.repeated import Hits, difference, share_right
from rediffuse.evaluation.utility.settings import UtilitySettings


def augmentation_metrics(
    train: Pairs, generated: Pairs, test: Pairs, real: RealTrainings, settings: UtilitySettings
) -> dict[str, dict[str, float]]:
    """By the number of real images: real_accuracy without and accuracy with the generated ones, and the gain, each with
    its interval.

    Args:
        train, test: labelled real images, those that `real` was made of.
        generated: what is added; no more than `train` holds, or a large set would leave the real ones unseen.
    """

    def together(count: int) -> Hits:
        rows = []
        for repeat in range(settings.repeats):
            network = settings.trained(some_real(train, count, settings, repeat) + generated, STREAM, repeat)
            rows.append(classify(network, extract(network, test.images)) == test.labels)
        return np.array(rows)

    counts = settings.counts_within(len(train))
    by_count = {count: together(count) for count in sorted(set(counts.values()))}
    return {
        name: {
            **share_right(real.hits[name]).named("real_accuracy"),
            **share_right(by_count[count]).named("accuracy"),
            **difference(by_count[count], real.hits[name]).named("gain"),
        }
        for name, count in counts.items()
    }
