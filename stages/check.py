"""check: refuse what can't work before DVC takes the outs of an earlier run away to make room for new ones."""

from pathlib import Path
from typing import Any

from rediffuse import files
from rediffuse.errors import UserError
from rediffuse.params import Params, PrepareParams
from rediffuse.stage import run_stage
from rediffuse.workspace import Workspace


def check(params: Params, workspace: Workspace) -> dict[str, Any]:
    """Look at what can be known before any stage runs: params.yaml was read, the data is there, so is the device.

    Its out never changes, so that it makes nothing else run again.
    """
    _check_source(params.prepare, workspace.root / params.prepare.path)
    if params.train.ema == "power":
        from rediffuse.snapshots import check_length, planned

        for key, length in (
            ("train.ema_length", params.train.ema_length),
            ("sample.ema_length", params.sample.ema_length),
        ):
            if length is not None:
                check_length(key, length, planned(params.train))
    if params.runtime.device == "cuda":
        from rediffuse import runtime

        runtime.start(params.runtime)
    files.write_json(workspace.checked, {"checked": True})
    return {}


def _check_source(section: PrepareParams, path: Path) -> None:
    """See that the source has something to read."""
    if section.source == "digits":
        return
    if section.source == "torchvision" and section.torchvision.download:
        # What is fetched goes there, and DVC looks for it before the stage prepare runs.
        path.mkdir(parents=True, exist_ok=True)
    one_file = section.source in ("parquet", "webdataset") and path.is_file()
    if not path.is_dir() and not one_file:
        kind = "folder or file" if section.source in ("parquet", "webdataset") else "folder"
        raise UserError(
            f"params.yaml: prepare.path is {section.path}, but there is no such {kind}; "
            f"prepare.source {section.source} reads its files there"
        )
    if section.source == "folder" and section.folder.labels == "table" and not (path / section.folder.table).is_file():
        raise UserError(
            f"params.yaml: prepare.folder.table is {section.folder.table}, but there is no such file in {section.path}"
        )


if __name__ == "__main__":
    run_stage(check, tracked=False)
