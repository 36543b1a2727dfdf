"""data/clean/ to data/split/: each example's part, train, val or test."""

from typing import Any

from rediffuse import files
from rediffuse.data.card import Card
from rediffuse.data.manifest import MANIFEST, SPLIT, read_table, write_table
from rediffuse.data.splitting import assign, measure
from rediffuse.params import Params
from rediffuse.stage import run_stage
from rediffuse.workspace import Workspace


def split(params: Params, workspace: Workspace) -> dict[str, Any]:
    """Assign every example to a split; give the counts and how far a class's share is from the whole's at most."""
    classes = Card.read(workspace.card).classes
    manifest = read_table(workspace.manifest, MANIFEST)
    labels = manifest["label"].fillna(-1).tolist()
    splits = assign(
        manifest["group"].tolist(),
        labels,
        (manifest["given_split"] == "test").fillna(False).tolist(),
        classes,
        val_share=params.split.val_share,
        test_share=params.split.test_share,
        seed=params.seed,
    )
    with files.replacing(workspace.split) as temporary:
        rows = ({"id": name, "split": part} for name, part in zip(manifest["id"], splits, strict=True))
        write_table(temporary, SPLIT, rows)
    metrics = measure(splits, labels, classes)
    files.write_json(workspace.metrics("split"), metrics)
    return metrics


if __name__ == "__main__":
    run_stage(split)
