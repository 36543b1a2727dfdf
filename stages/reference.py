"""reference: train the classifier that judges every model, and cache its features of the real images."""

from typing import Any

from rediffuse import files, memory, runtime
from rediffuse.data.card import Card
from rediffuse.data.dataset import load_split
from rediffuse.evaluation.extractors.classifier import Shape
from rediffuse.evaluation.extractors.features import classify, extract
from rediffuse.evaluation.fidelity.protocol import check_splits
from rediffuse.evaluation.reference import write_reference
from rediffuse.evaluation.utility.agreement import Agreement, by_class
from rediffuse.evaluation.utility.pairs import Pairs
from rediffuse.evaluation.utility.real_trainings import STREAM, check_labels, train_on_real, write_real_trainings
from rediffuse.evaluation.utility.recipe import train_classifier
from rediffuse.evaluation.utility.settings import UtilitySettings
from rediffuse.params import Params
from rediffuse.stage import run_stage
from rediffuse.tables import rounded
from rediffuse.workspace import Workspace


@memory.advised("use a smaller reference.batch_size or reference.width, which are part of the numbers")
def reference(params: Params, workspace: Workspace) -> dict[str, Any]:
    """Train on the real training split alone; validation and test are only looked at.

    Writes data/reference/ and metrics/reference.json: accuracy on each split, per-class scores on test, and there the
    accuracy of other trainings, on all real training images and on some.
    """
    device = runtime.start(params.runtime)
    card = Card.read(workspace.card)
    settings = params.reference
    shape = Shape.of(card.shape, classes=len(card.classes), base=settings.width, features=settings.features)
    usefulness = UtilitySettings.of(settings, shape, seed=params.seed, device=device)

    splits = {name: load_split(workspace, name) for name in ("train", "val", "test")}
    train = splits["train"]
    # Known here, before anything is trained, and not only when there are samples to score.
    check_splits(len(train), len(splits["test"]), params.evaluate.neighbours)
    check_labels(splits, card.classes)
    classifier = train_classifier(
        train.images,
        train.labels,
        shape=shape,
        recipe=usefulness.recipe,
        seed=params.seed,
        stream=STREAM,
        device=device,
    )
    features = {name: extract(classifier, split.images) for name, split in splits.items()}
    write_reference(workspace.reference, classifier, features)

    metrics: dict[str, Any] = {"features": settings.features}
    if card.classes:
        agreements = {
            name: Agreement.of(split.labels, classify(classifier, features[name]), len(card.classes))
            for name, split in splits.items()
        }
        metrics["accuracy"] = {name: agreement.accuracy for name, agreement in agreements.items()}
        metrics["per_class"] = by_class(agreements["test"], card.classes)
        trainings = train_on_real(
            Pairs.labelled(train.images, train.labels),
            Pairs.labelled(splits["test"].images, splits["test"].labels),
            classifier,
            usefulness,
        )
        write_real_trainings(workspace.reference, trainings)
        metrics["real_accuracy"] = trainings.metrics()
    metrics = rounded(metrics)
    files.write_json(workspace.metrics("reference"), metrics)
    return metrics


if __name__ == "__main__":
    run_stage(reference)
