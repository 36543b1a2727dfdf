"""check: refuse what can't work before DVC takes the outs of an earlier run away to make room for new ones."""

import os
from pathlib import Path
from typing import Any

from rediffuse import files
from rediffuse.errors import UserError
from rediffuse.evaluation.extractors import ExtractorSettings
from rediffuse.evaluation.extractors.weights import bring_weights
from rediffuse.params import Params, PrepareParams
from rediffuse.stage import run_stage
from rediffuse.workspace import Workspace


def check(params: Params, workspace: Workspace) -> dict[str, Any]:
    """Look at what can be known before any stage runs: params.yaml was read, the data is there, so is the device.

    The weights of extractors are brought here, before any stage that reads them looks whether their folder has changed.
    Its out never changes, so that it makes nothing else run again.
    """
    _check_source(params.prepare, workspace.root / params.prepare.path)
    bring_weights(
        ExtractorSettings.of(params.reference, seed=params.seed, root=workspace.root),
        download=params.reference.download,
        elsewhere=workspace.home / params.reference.weights,
    )
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

        runtime.device_type(params.runtime)
    files.write_json(workspace.checked, {"checked": True})
    return {}


def _check_source(section: PrepareParams, path: Path) -> None:
    """See that the source has something to read."""
    if section.source == "digits":
        return
    if section.source == "torchvision":
        from rediffuse.data.sources.torchvision_set import check_name

        check_name(section.torchvision.name)
        if section.torchvision.download:
            _make(section, path)
    # Not Path.is_dir, which raises for a name that is too long.
    one_file = section.source in ("parquet", "webdataset") and os.path.isfile(path)  # noqa: PTH113
    if not os.path.isdir(path) and not one_file:  # noqa: PTH112
        kind = "folder or file" if section.source in ("parquet", "webdataset") else "folder"
        raise UserError(
            f"params.yaml: prepare.path is {section.path}, but there is no such {kind}; "
            f"prepare.source {section.source} reads its files there"
        )
    if section.source == "folder" and section.folder.labels == "table":
        from rediffuse.data.sources.table import check_suffix

        table = path / section.folder.table
        check_suffix(table)
        if not os.path.isfile(table):  # noqa: PTH113
            raise UserError(
                f"params.yaml: prepare.folder.table is {section.folder.table}, "
                f"but there is no such file in {section.path}"
            )


def _make(section: PrepareParams, path: Path) -> None:
    """Make the folder for what is fetched: DVC looks for it before the stage prepare runs."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"params.yaml: prepare.path is {section.path}, but that folder can't be made: {error.strerror}"
        ) from None


if __name__ == "__main__":
    run_stage(check, tracked=False)
