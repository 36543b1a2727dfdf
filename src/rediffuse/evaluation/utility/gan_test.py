"""GAN-test (Shmelkov et al., 2018): does a generated image show the class that was asked for?

The share of generated images in which the classifier trained on real images sees that class. It falls when images are
poor or of another class, but not when they are all alike. Its interval is of the images: the judge is taken as it is.
"""

from typing import Any

import numpy as np

from rediffuse.evaluation.extractors.classifier import Labels
from rediffuse.evaluation.intervals import Estimate
from rediffuse.evaluation.utility.agreement import Agreement
from rediffuse.seeds import hashed_seed

STREAM = "evaluate/gan_test_shuffled"


def gan_test_metrics(asked: Labels, seen: Labels, names: tuple[str, ...], seed: int) -> dict[str, Any]:
    """The scores as `utility` holds them, with what labels get that say nothing of their image.

    Args:
        asked, seen: the class asked for, 0 or above, and the one that the judge sees, each (M,).
        names: of the classes; one that was never asked for is left out of `gan_test_recall`.
        seed: key of the permutation of `asked` behind `gan_test_accuracy_shuffled`.
    """
    shuffled = np.random.default_rng(hashed_seed(seed, STREAM)).permutation(asked)
    recalls = Agreement.of(asked, seen, len(names)).per_class
    times = np.bincount(asked, minlength=len(names))
    chosen = [(name, scores) for name, scores, count in zip(names, recalls, times, strict=True) if count]
    return {
        **Estimate.of_share(asked == seen).named("gan_test_accuracy"),
        "gan_test_recall": {name: scores["recall"] for name, scores in chosen},
        "gan_test_accuracy_shuffled": float((shuffled == seen).mean()),
    }
