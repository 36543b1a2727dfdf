"""check: refuse what can't work before DVC takes the outs of an earlier run away to make room for new ones."""

from typing import Any

from rediffuse import files
from rediffuse.errors import UserError
from rediffuse.params import Params
from rediffuse.stage import run_stage
from rediffuse.workspace import Workspace


def check(params: Params, workspace: Workspace) -> dict[str, Any]:
    """Look at what can be known before any stage runs: params.yaml was read, the data is there, so is the device.

    Its out never changes, so that it makes nothing else run again.
    """
    folder = workspace.root / params.prepare.path
    if params.prepare.source != "digits" and not folder.is_dir():
        raise UserError(
            f"params.yaml: prepare.path is {params.prepare.path}, but there is no such folder; "
            f"prepare.source {params.prepare.source} reads its files there"
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

        runtime.start(params.runtime)
    files.write_json(workspace.checked, {"checked": True})
    return {}


if __name__ == "__main__":
    run_stage(check, tracked=False)
