"""data/clean/ to data/split/: each example's part, train, val or test, and how alike the parts are."""

from typing import Any

from rediffuse import files
from rediffuse.data.arrays import map_examples
from rediffuse.data.card import Card
from rediffuse.data.manifest import MANIFEST, SPLIT, read_table, write_columns
from rediffuse.data.representativeness import compare, enforce, measure
from rediffuse.data.splitting import PLACES, assign
from rediffuse.errors import UserError
from rediffuse.params import Params
from rediffuse.stage import run_stage
from rediffuse.tables import rounded
from rediffuse.workspace import Workspace

_COLUMNS = ("id", "sha256", "label", "given_split", "group", "brightness", "contrast", "entropy")


def split(params: Params, workspace: Workspace) -> dict[str, Any]:
    """Assign every example to a split; give the counts and what the checks find, which stops it at `split.limits`."""
    settings = params.split
    classes = Card.read(workspace.card).classes
    manifest = read_table(workspace.manifest, MANIFEST, _COLUMNS)
    images = map_examples(workspace.examples)
    if len(images) != len(manifest):
        raise UserError(
            f"{workspace.examples} ({len(images)} examples) and {workspace.manifest.name} ({len(manifest)}) don't list "
            "the same examples; run dvc repro"
        )
    places = assign(
        manifest,
        classes,
        method=settings.method,
        val_share=settings.val_share,
        test_share=settings.test_share,
        seed=params.seed,
    )
    metrics = {
        **measure(manifest, places, classes),
        **compare(manifest, places, images, method=settings.method, seed=params.seed),
    }
    enforce(metrics, **settings.limits.model_dump())
    with files.replacing(workspace.split) as temporary:
        write_columns(temporary, SPLIT, {"id": manifest["id"], "split": [PLACES[i] for i in places.tolist()]})
    files.write_json(workspace.metrics("split"), rounded(metrics))
    return metrics


if __name__ == "__main__":
    run_stage(split)
