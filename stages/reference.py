"""reference: train the classifier that judges every model, make the extractors, and cache the real features."""

from typing import Any

from rediffuse import files, memory, runtime
from rediffuse.data.card import Card
from rediffuse.data.dataset import load_split
from rediffuse.evaluation.extractors import ExtractorSettings
from rediffuse.evaluation.extractors.classifier import Shape, save_classifier
from rediffuse.evaluation.extractors.features import classify
from rediffuse.evaluation.extractors.registry import check_external
from rediffuse.evaluation.extractors.weights import bring_files
from rediffuse.evaluation.fidelity.settings import check_splits
from rediffuse.evaluation.reference import JUDGE, write_features
from rediffuse.evaluation.utility.agreement import Agreement, by_class
from rediffuse.evaluation.utility.pairs import Pairs
from rediffuse.evaluation.utility.real_trainings import STREAM, check_labels, train_on_real, write_real_trainings
from rediffuse.evaluation.utility.recipe import train_classifier
from rediffuse.evaluation.utility.settings import UtilitySettings
from rediffuse.params import Params
from rediffuse.stage import run_stage
from rediffuse.tables import rounded
from rediffuse.workspace import Workspace


@memory.advised(
    "use a smaller reference.batch_size, reference.width or fewer reference.extractors, which are part of the numbers"
)
def reference(params: Params, workspace: Workspace) -> dict[str, Any]:
    """Train on the real training split alone; validation and test are only looked at.

    Writes data/reference/ and metrics/reference.json: each extractor's digest and dimensions, the classifier's accuracy
    on each split, per-class scores on test, and there the accuracy of other trainings, on all real training images and
    on some.
    """
    device = runtime.start(params.runtime)
    card = Card.read(workspace.card)
    settings = params.reference
    shape = Shape.of(card.shape, classes=len(card.classes), base=settings.width, features=settings.features)
    usefulness = UtilitySettings.of(settings, shape, seed=params.seed, device=device)

    splits = {name: load_split(workspace, name) for name in ("train", "val", "test")}
    train = splits["train"]
    # Known here, before anything is trained, and not only when there are samples to score.
    check_splits(len(train), len(splits["test"]), params.evaluate.neighbours, params.evaluate.coverage_neighbours)
    extractors = ExtractorSettings.of(settings, seed=params.seed, root=workspace.root)
    # No parameter changes where a file went missing, or git took none along, and so `check` did not run.
    bring_files(extractors, download=False, elsewhere=workspace.home / settings.weights)
    check_external(extractors, train.images, workspace.reference, device)
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
    save_classifier(classifier, workspace.reference / f"{JUDGE}.safetensors")
    made = write_features(
        workspace.reference,
        extractors,
        {name: split.images for name, split in splits.items()},
        splits["test"].labels if card.classes else None,
        device,
    )

    metrics: dict[str, Any] = {
        "features": settings.features,
        "extractors": {
            each.name: {"digest": each.digest, "dimensions": made.features[each.name].train.shape[1]}
            for each in made.extractors
        },
    }
    if card.classes:
        features = made.features[JUDGE]
        agreements = {
            name: Agreement.of(split.labels, classify(classifier, getattr(features, name)), len(card.classes))
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
