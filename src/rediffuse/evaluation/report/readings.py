"""One line of plain words for each score, so that a reader need not know which way is better, or how far is far."""

from collections.abc import Callable
from typing import Any

from rediffuse.pages import Reading, number


def read_fidelity(scores: dict[str, float]) -> list[Reading]:
    """Readings of the section `fidelity` of metrics/evaluate.json."""

    def spread(name: str) -> float:
        return 2 * scores.get(f"{name}_sd", 0.0)

    fd, fd_floor = scores["fd"], scores["fd_floor"]
    at_floor = fd <= fd_floor + spread("fd")
    kid, kid_floor = scores["kid"], scores["kid_floor"]
    kid_at_floor = kid <= kid_floor + max(spread("kid"), 2 * scores["kid_subset_sd"])
    rows = [
        Reading(
            "Fréchet distance",
            *_both(scores, "fd", number),
            "No farther from the training images than real test images are."
            if at_floor
            else f"{fd / fd_floor:.1f} times as far from the training images as real test images are."
            if fd_floor > 0
            else "Farther from the training images than real test images are.",
            at_floor,
        ),
        Reading(
            "Kernel distance",
            *_both(scores, "kid", number),
            "Within the spread of what real test images get."
            if kid_at_floor
            else "Above what real test images get, by more than the spread.",
            kid_at_floor,
        ),
    ]
    for name, title, words in (
        ("precision", "Precision", "{0} of 100 generated images look like a real one; of real test images {1} do."),
        (
            "recall",
            "Recall",
            "{0} of 100 real images have their like among the generated; among the real test images {1}.",
        ),
        ("f1", "F1", "Precision and recall in one number, their harmonic mean."),
    ):
        value, floor = scores[name], scores[f"{name}_floor"]
        text = words.format(f"{100 * value:.0f}", f"{100 * floor:.0f}")
        rows.append(Reading(title, *_both(scores, name, share), text, value >= floor - spread(name)))
    return rows


def read_utility(scores: dict[str, Any] | None) -> list[Reading]:
    """Readings of the section `utility` of metrics/evaluate.json; none where there are no classes."""
    if not scores:
        return []
    real = scores["real_accuracy"]
    return [
        Reading(
            "GAN-test accuracy",
            share(scores["gan_test_accuracy"]),
            share(real),
            f"In {100 * scores['gan_test_accuracy']:.1f} of 100 generated images a classifier of real ones sees the "
            f"class asked for; of real test images it knows {100 * real:.1f}.",
            None,
        ),
        Reading(
            "Classification accuracy score",
            share(scores["cas_accuracy"]),
            share(real),
            f"A classifier that saw only generated images knows {100 * scores['cas_accuracy']:.1f} of 100 real test "
            f"images; one trained on real images knows {100 * real:.1f}.",
            None,
        ),
    ]


def read_likelihood(scores: dict[str, Any] | None) -> list[Reading]:
    """Readings of the section `likelihood` of metrics/evaluate.json; none where it was not computed."""
    if not scores:
        return []
    bits, method = scores["bits_per_dim"], scores["method"]
    return [
        Reading(
            "Bits a dimension",
            f"{bits:.3f} ± {scores['stderr']:.3f}",
            "",
            f"By this model a pixel value of a new real image takes {bits:.2f} bits"
            f"{' at most' if method == 'bound' else ''}; without any model it takes 8.",
            None,
        )
    ]


def share(value: float) -> str:
    """Three decimals, for what lies between 0 and 1."""
    return f"{value:.3f}"


def _both(scores: dict[str, float], name: str, written: Callable[[float], str]) -> tuple[str, str]:
    sd = scores.get(f"{name}_sd")
    value = written(scores[name]) + (f" ± {written(sd)}" if sd is not None else "")
    return value, written(scores[f"{name}_floor"])
