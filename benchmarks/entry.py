"""Runs a stage as `python -m` does, and notes when its function begins and ends: `... entry stages.train FILE`.

Nothing is imported here that the stage does not import first itself, so that its start takes what it takes.
"""

import functools
import json
import runpy
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rediffuse import stage as stage_module


def noting(stage: Callable[..., Any], times: Path) -> Callable[..., Any]:
    """The stage's function, which writes what the clock says and the greatest memory when it ends, however it ends."""

    @functools.wraps(stage)
    def noted(*args: Any) -> Any:
        entered = time.monotonic()
        try:
            return stage(*args)
        finally:
            told = {"entered": entered, "left": time.monotonic(), "peak_mib": peak_mib()}
            times.write_text(json.dumps(told))

    return noted


def peak_mib() -> float:
    """The greatest resident set of this process, in MiB; 0 where there is no /proc."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def main() -> None:
    """Run the module that the first argument names."""
    module, times = sys.argv[1], Path(sys.argv[2])
    run_stage = stage_module.run_stage

    def timed(stage: Callable[..., Any], **settings: Any) -> None:
        # Only of the process that was started here: what it starts to compute with it runs the plain module.
        run_stage(noting(stage, times), **settings)

    stage_module.run_stage = timed
    del sys.argv[1:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
