"""What of a protocol decides a score: two values compare only where that is the same.

Names are those of metrics files, the parts joined by dots: `fidelity.by_class.3.fd`.
"""

from collections.abc import Mapping

_MEASURED_LIKE = {"controls": "fidelity"}
# Other draws, or more of them, estimate the same number; each count of real images has scores of its own, and with
# which grid a sampler draws is part of what is measured.
_DECIDE_NOTHING = {"seed", "sample_seed", "streams", "folds", "intervals", "repeats"} | {
    *("real_counts", "skipped_real_counts", "grids"),
}
_MANIFOLD = ("precision", "recall", "f1")
_FIDELITY = {
    "neighbours": _MANIFOLD,
    "coverage_neighbours": ("density", "coverage"),
    "manifold_points": (*_MANIFOLD, "density", "coverage"),
    "kid_subsets": ("kid",),
    "kid_subset_size": ("kid",),
    "mmd_bandwidth": ("mmd",),
}
_ABOUT: dict[str, dict[str, tuple[str, ...]]] = {
    "sweep": {**_FIDELITY, "count": ("cas", "gan_test")},
    "utility": {
        "images": ("gan_test",),
        "pairs": ("cas", "accuracy", "gain"),
        "validated_on": ("cas_val",),
    },
    "memorisation": {
        "images": ("ct", "authenticity", "nearest", "copies", "pixel"),
        "cells": ("ct",),
        "neighbours": ("authenticity", "nearest", "copies"),
        "membership": ("membership",),
        "false_positives": ("membership_tpr",),
        "canaries": ("count", "repeats", "exposure", "extracted"),
    },
}
"""Block -> what of its protocol is about some of its scores alone -> how their last parts begin."""


def measured_by(first: str, extractor: str) -> str:
    """The block of the protocol that tells how a score was taken.

    Args:
        first: part of the score's name.
        extractor: that a score of `by_extractor` was taken by; of no meaning for the others.
    """
    return extractor if first == "by_extractor" else _MEASURED_LIKE.get(first, first)


def deciding(noted: Mapping[str, str], score: str) -> dict[str, str]:
    """Of what is noted of a block, by dotted name, that which decides one of its scores."""
    first, _, rest = score.partition(".")
    about = _ABOUT.get(first, _FIDELITY)
    last = rest.rpartition(".")[2]

    def decides(key: str) -> bool:
        asked = key.partition(".")[0]
        return asked not in _DECIDE_NOTHING and (asked not in about or last.startswith(about[asked]))

    return {key: text for key, text in sorted(noted.items()) if decides(key)}
