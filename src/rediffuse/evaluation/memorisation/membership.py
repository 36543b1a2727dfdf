"""Membership inference: can one who has the model tell which images it was trained on?

The attack is the denoising loss (`losses`) of training images against test images. AUC says how well it tells them
apart over all thresholds, the true positives at 1 % false ones whether it is sure of any (Carlini et al., 2022): 0.5
and 0.01 are chance. Both kinds must be drawn alike; where the data came with a test split of another kind, that is seen
too. An attack that fails proves no privacy: there are stronger ones.
"""

from rediffuse.data.dataset import Examples
from rediffuse.evaluation.memorisation.losses import Attacked, denoising_losses, familiarity
from rediffuse.evaluation.memorisation.separation import Separation
from rediffuse.evaluation.memorisation.settings import FALSE_POSITIVES, MemorisationSettings
from rediffuse.evaluation.subsets import hashed_order

_USE = "membership"


def membership_scores(
    attacked: Attacked, train: Examples, test: Examples, settings: MemorisationSettings
) -> dict[str, float]:
    """membership_auc and membership_tpr, each with its interval; nothing where no images are asked for.

    As many images of both splits, the first in a hashed order of their ids, see the same noise. That is
    2 × images × levels evaluations of the network.
    """
    count = membership_images(train, test, settings)
    if not count:
        return {}
    losses = []
    for split in (train, test):
        rows = hashed_order(split.ids, settings.seed, _USE)[:count]
        losses.append(
            denoising_losses(
                attacked,
                split.images[rows],
                split.labels[rows],
                levels=settings.membership_levels,
                seed=settings.seed,
                use=_USE,
            )
        )
    seen = Separation(*familiarity(*losses))
    return {
        **seen.auc.named("membership_auc"),
        **seen.hits(FALSE_POSITIVES, settings.draw(_USE)).named("membership_tpr"),
    }


def membership_images(train: Examples, test: Examples, settings: MemorisationSettings) -> int:
    """How many images of each split are compared."""
    return min(settings.membership_images, len(train), len(test))
