"""All that is said of the distribution of generated images: by every extractor, class by class, beside controls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rediffuse.evaluation.extractors.features import Features
from rediffuse.evaluation.fidelity.classes import Labelled, label_shares, score_classes
from rediffuse.evaluation.fidelity.controls import describe_controls, score_controls
from rediffuse.evaluation.fidelity.protocol import score_fidelity
from rediffuse.evaluation.fidelity.settings import FidelitySettings
from rediffuse.evaluation.fidelity.standard import Standard


@dataclass(frozen=True)
class FeatureSets:
    """Features (N, d) of every set by one extractor.

    Args:
        extractor: its name.
        digest: hex SHA-256 of all that decides its features.
        train, test, generated: of the two real splits, and of the generated images in the order they were sampled.
        controls: of the control sets, by name; only the first extractor's are read.
    """

    extractor: str
    digest: str
    train: Features
    test: Features
    generated: Features
    controls: Mapping[str, Features]


@dataclass(frozen=True)
class Section:
    """What `fidelity_metrics` gives.

    Args:
        metrics: `fidelity`, `by_extractor` and `controls` of metrics/evaluate.json, unrounded.
        protocol: of each block of scores: `fidelity`, `controls`, and each further extractor by name.
        images: n, the size that every set is scored at.
    """

    metrics: dict[str, Any]
    protocol: dict[str, Any]
    images: int


def fidelity_metrics(sets: Sequence[FeatureSets], labels: Labelled | None, settings: FidelitySettings) -> Section:
    """Score generated images by each extractor; the first also by class and beside the controls.

    Args:
        sets: one for each extractor; the first gives the main scores.
        labels: what the images show; None where the data has no classes.
    """
    first, *others = sets
    standard = Standard(first.train, settings)
    found = score_fidelity(first.train, first.test, first.generated, settings, standard)
    fidelity: dict[str, Any] = dict(found.scores)
    if labels:
        fidelity["labels"] = label_shares(labels, settings)
        fidelity["by_class"] = score_classes(first.train, first.test, first.generated, labels, settings)
    controls = score_controls(standard, first.controls, found.images, settings)
    made_by = {"extractor": first.extractor, "digest": first.digest}
    protocol = {
        "fidelity": {**made_by, **found.protocol},
        "controls": {**made_by, **describe_controls(standard, found.images, settings)},
    }
    by_extractor = {}
    for each in others:
        scored = score_fidelity(each.train, each.test, each.generated, settings)
        by_extractor[each.extractor] = scored.scores
        protocol[each.extractor] = {"extractor": each.extractor, "digest": each.digest, **scored.protocol}
    metrics = {"fidelity": fidelity, "by_extractor": by_extractor, "controls": controls}
    return Section(metrics, protocol, found.images)
