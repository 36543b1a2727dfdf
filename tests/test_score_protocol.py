"""What two scores must share to be compared, and what they need not."""

import pytest

from rediffuse.score_protocol import deciding, measured_by

FIDELITY = {
    "digest": "d",
    "images": "180",
    "neighbours": "3",
    "manifold_points": "9",
    "kid_subsets": "50",
    "folds": "8",
}
UTILITY = {"digest": "d", "images": "1440", "pairs": "1437", "recipe.lr": "0.002", "repeats": "3", "seed": "0"}
AUDIT = {"images": "1440", "membership": "180 and 180", "canaries": "8 planted", "reference": "train", "seed": "0"}


@pytest.mark.parametrize(
    ("noted", "score", "decisive"),
    [
        (FIDELITY, "fidelity.fd", {"digest", "images"}),
        (FIDELITY, "fidelity.recall", {"digest", "images", "neighbours", "manifold_points"}),
        (FIDELITY, "fidelity.by_class.3.recall", {"digest", "images", "neighbours", "manifold_points"}),
        (FIDELITY, "by_extractor.pca.kid", {"digest", "images", "kid_subsets"}),
        (UTILITY, "utility.gan_test_accuracy", {"digest", "images", "recipe.lr"}),
        (UTILITY, "utility.cas_accuracy", {"digest", "pairs", "recipe.lr"}),
        (UTILITY, "utility.augmentation.100.gain", {"digest", "pairs", "recipe.lr"}),
        (AUDIT, "memorisation.ct", {"images", "reference"}),
        (AUDIT, "memorisation.membership_auc", {"membership", "reference"}),
        (AUDIT, "memorisation.canaries.exposure", {"canaries", "reference"}),
        ({"how": "ODE", "images": "20", "seed": "0"}, "likelihood.bits_per_dim", {"how", "images"}),
        (FIDELITY | {"count": "360"}, "sweep.guidance.1.5.fd", {"digest", "images"}),
        (FIDELITY | {"count": "360"}, "sweep.guidance.1.5.cas_accuracy", {"digest", "images", "count"}),
    ],
)
def test_what_decides_a_score_and_nothing_else_must_be_alike(
    noted: dict[str, str], score: str, decisive: set[str]
) -> None:
    assert deciding(noted, score) == {key: noted[key] for key in decisive}


def test_each_score_belongs_to_a_block_of_the_protocol() -> None:
    assert [measured_by(first, "pca") for first in ("fidelity", "by_extractor", "controls", "sweep")] == [
        *("fidelity", "pca", "fidelity", "sweep"),
    ]
