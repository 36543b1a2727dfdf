"""data/raw/ to data/prepared/: the source's images, still encoded, as Parquet shards with a manifest."""

from typing import Any

from rediffuse import files
from rediffuse.data.shards import write_shards
from rediffuse.data.sources import SOURCES
from rediffuse.params import Params
from rediffuse.progress import image_bar
from rediffuse.stage import run_stage
from rediffuse.workspace import Workspace


def prepare(params: Params, workspace: Workspace) -> dict[str, Any]:
    """Write the shards; give the number of rows, classes and shards."""
    section = params.prepare
    source = SOURCES[section.source](workspace.root / section.path, section)
    about = source.about.replaced_by(**section.about.model_dump())
    with image_bar("prepare", None, shown=params.runtime.progress) as bar:
        prepared = write_shards(source, workspace.prepared, section.shard_rows, about=about, progress=bar)
    metrics = {"rows": prepared.rows, "classes": len(prepared.classes), "shards": len(prepared.shards)}
    files.write_json(workspace.metrics("prepare"), metrics)
    return metrics


if __name__ == "__main__":
    run_stage(prepare)
