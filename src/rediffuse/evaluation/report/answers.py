"""Plain words for the scores beside fidelity: use to a classifier, memorisation and likelihood."""

from typing import Any

from rediffuse.evaluation.report.names import interval, points, share
from rediffuse.evaluation.report.readings import GOOD, standing
from rediffuse.pages import Reading, number

NO_PROOF = (
    "Distances prove no privacy: they show copies that look alike to this extractor, and membership inference shows "
    "what this one attack finds. A model that passes may still give training data away."
)


def read_utility(scores: dict[str, Any] | None, *, repeats: int) -> list[Reading]:
    """Readings of the section `utility` of metrics/evaluate.json; none where there are no classes.

    Args:
        repeats: trainings that CAS is the mean of.
    """
    if not scores:
        return []
    seen, real, cas = scores["gan_test_accuracy"], scores["real_accuracy"], scores["cas_accuracy"]
    known = (share(real), interval(scores, "real_accuracy", share))
    mean = f" (mean of {repeats} trainings)" if repeats > 1 else ""
    rows = [
        Reading(
            "GAN-test accuracy",
            share(seen),
            known[0],
            f"In {100 * seen:.1f} of 100 generated images a classifier of real ones sees the class asked for; of real "
            f"test images it knows {100 * real:.1f}. With the labels shuffled: "
            f"{100 * scores['gan_test_accuracy_shuffled']:.1f}.",
            None,
            interval(scores, "gan_test_accuracy", share),
            known[1],
        ),
        Reading(
            "Classification accuracy score (CAS)",
            share(cas),
            known[0],
            f"A classifier that saw only generated images knows {100 * cas:.1f} of 100 real test images{mean}; one "
            f"trained on real images knows {100 * real:.1f}. Of real validation images "
            f"{100 * scores['cas_val_accuracy']:.1f}, {interval(scores, 'cas_val_accuracy', share)}.",
            None,
            interval(scores, "cas_accuracy", share),
            known[1],
        ),
        Reading(
            "CAS, macro precision, recall, F1",
            ", ".join(share(scores[f"cas_macro_{name}"]) for name in ("precision", "recall", "f1")),
            "",
            "Of the classifier that saw only generated images: means over the classes, each alike. 95 % intervals: "
            + ", ".join(interval(scores, f"cas_macro_{name}", share) for name in ("precision", "recall", "f1"))
            + ".",
            None,
        ),
    ]
    return [*rows, _gap(scores)] if "cas_gap" in scores else rows


def _gap(scores: dict[str, Any]) -> Reading:
    gap, low, high = (scores[f"cas_gap{end}"] for end in ("", "_low", "_high"))
    good: bool | None = None
    if low > 0:
        words, good = "Points of accuracy lost by training on generated images, beyond the interval.", False
    elif high < 0:
        words, good = "Training on generated images gains points of accuracy, beyond the interval.", True
    else:
        words = "Points of accuracy lost by training on generated images: none is shown, the interval holds 0."
    return Reading("Gap to real", points(gap), "", words, good, interval(scores, "cas_gap", points))


def read_copies(scores: dict[str, Any] | None) -> list[Reading]:
    """Readings of what the generated images say: `memorisation` without its attacks; none where it is missing."""
    if not scores:
        return []
    authenticity, copies, same = scores["authenticity"], scores["copies"], scores["pixel_copies"]
    return [
        _copying(scores),
        Reading(
            "Authenticity",
            share(authenticity),
            share(scores["authenticity_floor"]),
            f"{100 * authenticity:.0f} of 100 generated images are farther from their nearest training image than that "
            f"is from its own nearest; of real ones {100 * scores['authenticity_floor']:.0f}.",
            GOOD[standing(scores, "authenticity", lower=False)],
            interval(scores, "authenticity", share),
            interval(scores, "authenticity_floor", share),
        ),
        Reading(
            "Nearest ratio, median",
            number(scores["nearest_ratio"]),
            number(scores["nearest_ratio_floor"]),
            "Distance to the nearest training image over that one's to its own nearest. A copy has 0.",
            None,
            interval(scores, "nearest_ratio", number),
            interval(scores, "nearest_ratio_floor", number),
        ),
        Reading(
            "Suspiciously near",
            share(copies),
            share(scores["copies_floor"]),
            f"{100 * copies:.1f} of 100 generated images have a nearest ratio that only 1 of 100 real test images goes "
            "below.",
            False if scores["copies_low"] > scores["copies_floor"] else None,
            interval(scores, "copies", share),
            interval(scores, "copies_floor", share),
        ),
        Reading(
            "The same, pixel by pixel",
            f"{same:,}",
            f"{scores['pixel_copies_floor']:,}",
            "Generated images that are a training image in every pixel"
            + (", more than of real test images: copies." if same > scores["pixel_copies_floor"] else "."),
            False if same > scores["pixel_copies_floor"] else None,
        ),
    ]


def _copying(scores: dict[str, Any]) -> Reading:
    low, high, good = scores["ct_low"], scores["ct_high"], None
    if high < 0:
        words, good = (
            "Nearer to the training images than new real images are, beyond the interval: what copying does.",
            False,
        )
    elif low > 0:
        words = (
            "Farther from the training images than new real images are, beyond the interval: not what copying does, "
            "but not yet real either."
        )
    else:
        words = (
            "Neither nearer to the training images than new real images nor farther, as far as is shown: the interval "
            "holds 0."
        )
    return Reading(
        "C_T",
        _two(scores["ct"]),
        _two(scores["ct_floor"]),
        words,
        good,
        interval(scores, "ct", _two),
        interval(scores, "ct_floor", _two),
    )


def _two(value: float) -> str:
    return f"{value:.2f}"


def read_attacks(scores: dict[str, Any] | None) -> list[Reading]:
    """Readings of what the model itself says, where it was asked: membership inference and planted canaries."""
    rows = []
    if scores and "membership_auc" in scores:
        rows += _membership(scores)
    if scores and "canaries" in scores:
        canaries = scores["canaries"]
        told = canaries["extracted"] > 0 or canaries["exposure_low"] > canaries["exposure_by_chance"]
        rows.append(
            Reading(
                "Planted canaries",
                f"{number(canaries['exposure'])} bits",
                f"{number(canaries['exposure_by_chance'])} bits",
                f"Exposure of {canaries['count']} invented images, each planted {canaries['repeats']} times; "
                f"{canaries['extracted']} of them came out among the samples.",
                False if told else None,
                interval(canaries, "exposure", number),
            )
        )
    return rows


def _membership(scores: dict[str, Any]) -> list[Reading]:
    auc, told = scores["membership_auc"], scores["membership_auc_low"] > 0.5
    tpr = scores["membership_tpr"]
    return [
        Reading(
            "Membership inference, AUC",
            share(auc),
            share(0.5),
            f"By the model's loss alone a training image is told from a new one {100 * auc:.0f} times of 100; "
            "chance is 50."
            if told
            else "That the model's loss tells training images from new ones is not shown: the interval holds chance.",
            False if told else None,
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
    bits, baseline = scores["bits_per_dim"], scores["bits_per_dim_baseline"]
    return [
        Reading(
            "Bits a dimension",
            f"{bits:.3f} ± {scores['stderr']:.3f}",
            f"{baseline:.3f}",
            f"By this model a pixel value of a new real image takes {bits:.2f} bits"
            f"{' at most' if scores['method'] == 'bound' else ''}; with the mean and variance of the training images "
            f"alone {baseline:.2f}, without any model 8.",
            bool(scores["bits_per_dim_high"] < baseline),
            interval(scores, "bits_per_dim", lambda value: f"{value:.3f}"),
        )
    ]
