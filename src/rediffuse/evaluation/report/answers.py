"""Plain words for the scores beside fidelity: use to a classifier, memorisation and likelihood."""

from typing import Any

from rediffuse.evaluation.report.names import interval, points, share
from rediffuse.pages import Reading, number

COPYING = -3.0
"""A C_T below it is no accident: a standard normal deviate is, once in 740 times."""
SURPRISING = 2.0
"""Beyond it, to either side, it is by chance in 1 of 20 times."""
NO_PROOF = (
    "Distances prove no privacy: they show copies that look alike to this extractor, and membership inference shows "
    "what this one attack finds. A model that passes may still give training data away."
)


def read_utility(scores: dict[str, Any] | None, *, repeats: int | None = None) -> list[Reading]:
    """Readings of the section `utility` of metrics/evaluate.json; none where there are no classes.

    Args:
        repeats: trainings that CAS is the mean of; None where unknown.
    """
    if not scores:
        return []
    seen, real, cas = scores["gan_test_accuracy"], scores["real_accuracy"], scores["cas_accuracy"]
    known = (share(real), interval(scores, "real_accuracy", share))
    chance = scores.get("gan_test_accuracy_shuffled")
    by_chance = "" if chance is None else f" With the labels shuffled: {100 * chance:.1f}."
    mean = f" (mean of {repeats} trainings)" if repeats and repeats > 1 else ""
    validation = (
        f" Of real validation images {100 * scores['cas_val_accuracy']:.1f}." if "cas_val_accuracy" in scores else ""
    )
    rows = [
        Reading(
            "GAN-test accuracy",
            share(seen),
            known[0],
            f"In {100 * seen:.1f} of 100 generated images a classifier of real ones sees the class asked for; of real "
            f"test images it knows {100 * real:.1f}.{by_chance}",
            None,
            interval(scores, "gan_test_accuracy", share),
            known[1],
        ),
        Reading(
            "Classification accuracy score (CAS)",
            share(cas),
            known[0],
            f"A classifier that saw only generated images knows {100 * cas:.1f} of 100 real test images{mean}; one "
            f"trained on real images knows {100 * real:.1f}.{validation}",
            None,
            interval(scores, "cas_accuracy", share),
            known[1],
        ),
    ]
    if "cas_macro_f1" in scores:
        rows.append(
            Reading(
                "CAS, macro precision, recall, F1",
                ", ".join(share(scores[f"cas_macro_{name}"]) for name in ("precision", "recall", "f1")),
                "",
                "Of the classifier that saw only generated images: means over the classes, each class alike.",
                None,
            )
        )
    if "cas_gap" in scores:
        rows.append(_gap(scores))
    return rows


def _gap(scores: dict[str, Any]) -> Reading:
    gap, low, high = scores["cas_gap"], scores.get("cas_gap_low"), scores.get("cas_gap_high")
    if low is None or high is None:
        words, good = "Points of accuracy lost by training on generated images.", None
    elif low > 0:
        words, good = "Points of accuracy lost by training on generated images, more than chance explains.", False
    elif high < 0:
        words, good = "Training on generated images gains points of accuracy, more than chance explains.", True
    else:
        words, good = (
            "Points of accuracy lost by training on generated images: none that this test set could show.",
            True,
        )
    return Reading("Gap to real", points(gap), "", words, good, interval(scores, "cas_gap", points))


def read_memorisation(scores: dict[str, Any] | None) -> list[Reading]:
    """Readings of the section `memorisation` of metrics/evaluate.json; none where it is missing."""
    if not scores:
        return []
    rows = [*_distances(scores), *_membership(scores)]
    if canaries := scores.get("canaries"):
        rows.append(
            Reading(
                "Planted canaries",
                f"{number(canaries['exposure'])} bits",
                f"{number(canaries['exposure_by_chance'])} bits",
                f"Exposure of {canaries['count']} invented images, each planted {canaries['repeats']} times; "
                f"{canaries['extracted']} of them came out among the samples.",
                canaries["extracted"] == 0 and canaries["exposure_low"] <= canaries["exposure_by_chance"],
                _bits(canaries),
            )
        )
    return rows


def _bits(canaries: dict[str, Any]) -> str:
    return interval(canaries, "exposure", number)


def _distances(scores: dict[str, Any]) -> list[Reading]:
    ct = scores["ct"]
    if ct < COPYING:
        words = "Nearer to the training images than new real images are: what copying looks like."
    elif ct > -COPYING:
        words = "Farther from the training images than new real images are: no copies, but not yet real either."
    elif abs(ct) > SURPRISING:
        nearer = "nearer to" if ct < 0 else "farther from"
        words = f"A little {nearer} the training images than new real images are; chance does as much once in 20 times."
    else:
        words = "As far from the training images as new real images, within what this test set can tell."
    rows = [
        Reading(
            "C_T, a z-score",
            f"{ct:.2f}",
            f"{scores['ct_floor']:.2f}",
            words,
            ct >= COPYING,
            interval(scores, "ct", lambda value: f"{value:.2f}"),
        )
    ]
    if "authenticity" in scores:
        rows.append(
            Reading(
                "Authenticity",
                share(scores["authenticity"]),
                share(scores["authenticity_floor"]),
                f"{100 * scores['authenticity']:.0f} of 100 generated images are farther from their nearest training "
                f"image than that is from its own nearest; of real ones {100 * scores['authenticity_floor']:.0f}.",
                None,
                interval(scores, "authenticity", share),
                interval(scores, "authenticity_floor", share),
            )
        )
    if "nearest_ratio" in scores:
        rows.append(
            Reading(
                "Nearest ratio, median",
                number(scores["nearest_ratio"]),
                number(scores["nearest_ratio_floor"]),
                "Distance to the nearest training image over that one's to its own nearest. A copy has 0.",
                None,
            )
        )
    if "copies" in scores:
        rows.append(
            Reading(
                "Suspiciously near",
                share(scores["copies"]),
                share(0.01),
                f"{100 * scores['copies']:.1f} of 100 generated images have a nearest ratio that only 1 of 100 real "
                "test images goes below.",
                None,
            )
        )
    return rows


def _membership(scores: dict[str, Any]) -> list[Reading]:
    if "membership_auc" not in scores:
        return []
    auc, low = scores["membership_auc"], scores.get("membership_auc_low", scores["membership_auc"])
    tpr = scores["membership_tpr"]
    return [
        Reading(
            "Membership inference, AUC",
            share(auc),
            share(0.5),
            "The model's loss does not tell training images from new ones, as far as this sample shows."
            if low <= 0.5
            else f"By the model's loss alone a training image is told from a new one {100 * auc:.0f} times of "
            "100; chance is 50.",
            low <= 0.5,
            interval(scores, "membership_auc", share),
        ),
        Reading(
            "Membership inference, TPR",
            share(tpr),
            share(0.01),
            f"{100 * tpr:.1f} of 100 training images are found where 1 of 100 new ones is accused wrongly.",
            None,
            interval(scores, "membership_tpr", share),
        ),
    ]


def read_likelihood(scores: dict[str, Any] | None) -> list[Reading]:
    """Readings of the section `likelihood` of metrics/evaluate.json; none where it was not computed."""
    if not scores:
        return []
    bits, baseline, bound = scores["bits_per_dim"], scores.get("bits_per_dim_baseline"), scores["method"] == "bound"
    high = scores.get("bits_per_dim_high", bits)
    without = (
        "without any model it takes 8"
        if baseline is None
        else (f"with the mean and variance of the training images alone {baseline:.2f}, without any model 8")
    )
    return [
        Reading(
            "Bits a dimension",
            f"{bits:.3f} ± {scores['stderr']:.3f}",
            "" if baseline is None else f"{baseline:.3f}",
            f"By this model a pixel value of a new real image takes {bits:.2f} bits"
            f"{' at most' if bound else ''}; {without}.",
            None if baseline is None else bool(high < baseline),
            interval(scores, "bits_per_dim", lambda value: f"{value:.3f}"),
        )
    ]
