"""Planted canaries: images that the training held and that nothing else could have taught the model.

They make the audit falsifiable: a training that planted some, and whose audit finds none, was audited badly or learned
nothing by heart. Exposure (Carlini et al., 2019, definition 5) is log2(R + 1) − log2(rank) of a canary's denoising
loss among those of R canaries of the same kind that were not planted: log2(R + 1) where it is the most familiar.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln
from scipy.stats import chi2

from rediffuse.data.canaries import canaries
from rediffuse.evaluation.extractors.classifier import Images
from rediffuse.evaluation.intervals import CONFIDENCE, Estimate
from rediffuse.evaluation.memorisation.losses import Attacked, denoising_losses, familiarity
from rediffuse.evaluation.memorisation.nearest import nearest
from rediffuse.evaluation.memorisation.settings import MemorisationSettings

HELD_OUT = 511
"""R: so that the greatest exposure is 9 bits."""

_USE = "canaries"


def canary_scores(
    attacked: Attacked,
    generated: Images,
    settings: MemorisationSettings,
    *,
    shape: tuple[int, int, int],
    classes: int,
) -> dict[str, Any]:
    """The section `canaries`: count, repeats, exposure with its interval, exposure_by_chance, extracted; empty without.

    Costs (canaries + 511) × levels evaluations of the network.

    Args:
        attacked: the model that was trained with `settings.canaries` of them, of this shape and these classes.
        generated: its images, (N, C, H, W), one at least.
    """
    if not settings.canaries:
        return {}
    planted = canaries("planted", settings.canaries, seed=settings.seed, shape=shape, classes=classes)
    held_out = canaries("held_out", HELD_OUT, seed=settings.seed, shape=shape, classes=classes)
    losses = [
        denoising_losses(
            attacked, each.images, each.labels, levels=settings.membership_levels, seed=settings.seed, use=_USE
        )
        for each in (planted, held_out)
    ]
    exposure = exposures(*familiarity(*losses))
    return {
        "canaries": {
            "count": settings.canaries,
            "repeats": settings.canary_repeats,
            **mean_exposure(exposure).named("exposure"),
            "exposure_by_chance": exposure_by_chance(HELD_OUT),
            "extracted": int(extracted(generated, planted.images, held_out.images).sum()),
        }
    }


def exposures(planted: NDArray[np.float64], held_out: NDArray[np.float64]) -> NDArray[np.float64]:
    """The exposure of each planted canary in bits, (N,), from scores that are the higher the more familiar.

    Of equal scores the canary has the middle rank.
    """
    rising = np.sort(held_out)
    above = len(rising) - np.searchsorted(rising, planted, side="right")
    equal = len(rising) - np.searchsorted(rising, planted, side="left") - above
    bits: NDArray[np.float64] = np.log2(len(rising) + 1) - np.log2(1 + above + equal / 2)
    return bits


def exposure_by_chance(held_out: int) -> float:
    """What a canary that was not planted has on average: log2(R + 1) − log2((R + 1)!) / (R + 1)."""
    return float(np.log2(held_out + 1) - gammaln(held_out + 2) / np.log(2) / (held_out + 1))


def extracted(generated: Images, planted: Images, held_out: Images) -> NDArray[np.bool_]:
    """Which planted canaries some generated image shows, (N,).

    In pixels, some generated image comes nearer to it than any comes to a held-out canary: for a model that has learned
    none, that happens to one in R + 1. And it comes nearer than any held-out canary does, so that it shows this canary
    and not only something that leans towards it.
    """
    flat, known, other = (images.reshape(len(images), -1) for images in (generated, planted, held_out))
    reached = nearest(known, flat, 1).distances[:, 0]
    by_chance = nearest(other, flat, 1).distances[:, 0].min()
    alike = nearest(known, other, 1).distances[:, 0]
    shown: NDArray[np.bool_] = (reached < by_chance) & (reached < alike)
    return shown


def mean_exposure(exposure: NDArray[np.float64]) -> Estimate:
    """The mean of exposures (N,) with an interval that holds for exponential ones, as those by chance nearly are.

    Those of canaries that were learned scatter less, so that it is too wide for them and never too narrow; and one
    canary, or many that are all the most familiar, have one as well. No mean exceeds log2(R + 1).
    """
    mean, n, most = float(exposure.mean()), len(exposure), float(np.log2(HELD_OUT + 1))
    ends = (2 * n * mean / float(chi2.ppf(0.5 + side * CONFIDENCE / 2, 2 * n)) for side in (1, -1))
    low, high = (min(end, most) for end in ends)
    return Estimate(mean, low, high)
