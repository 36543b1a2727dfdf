"""Where the time of a `dvc repro` goes: each stage's start, its work and its end, and the memory that it takes.

    python -m benchmarks.pipeline --set train.steps=2400 --keep FOLDER

Runs the stages of dvc.yaml one after the other as DVC does, each a process of its own, in an empty folder, with
params.yaml as it is but for tracking and progress bars; neither DVC nor MLflow runs, and what they take comes on top.
`start` is from the start of the process to the entry of the stage's function (the interpreter, imports, params.yaml),
`work` the function itself, `end` the rest. Memory is the greatest resident set of the stage's own process (Linux).
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch

from benchmarks import command
from benchmarks.command import CHECKOUT, Report
from rediffuse import files, yaml12

HEADS = ("stage", "seconds", "start", "work", "end", "share", "peak MiB")


def stages() -> list[str]:
    """Those of dvc.yaml, in its order."""
    return list(yaml12.load(CHECKOUT / "dvc.yaml")["stages"])


def write_params(folder: Path, changes: Sequence[str]) -> None:
    """params.yaml into the folder, without tracking, with changes "section.key=JSON"; JSON is YAML, too."""
    document = yaml12.load(CHECKOUT / "params.yaml")
    for change in ("runtime.tracking=false", "runtime.progress=false", *changes):
        name, value = change.split("=", 1)
        *sections, key = name.split(".")
        place = document
        for section in sections:
            place = place[section]
        place[key] = json.loads(value)
    files.write_json(folder / "params.yaml", document)


def run(stage: str, folder: Path) -> dict[str, Any]:
    """The seconds of one stage; what it writes to stderr stands in the error.

    Raises:
        RuntimeError: it failed.
    """
    times = folder / ".times.json"
    paths = os.pathsep.join(map(str, (CHECKOUT, CHECKOUT / "src")))
    environment = os.environ | {"PYTHONPATH": paths, "DVC_ROOT": str(folder)}
    begun = time.monotonic()
    asked = [sys.executable, "-m", "benchmarks.entry", f"stages.{stage}", str(times)]
    ended = subprocess.run(asked, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - begun
    if ended.returncode:
        raise RuntimeError(f"stage {stage} ended with {ended.returncode}: {ended.stderr.strip()[-300:]}")
    told = files.read_json(times)
    times.unlink()
    entered, left = told["entered"] - begun, told["left"] - begun
    return {
        "stage": stage,
        "seconds": seconds,
        "start": entered,
        "work": left - entered,
        "end": seconds - left,
        "peak MiB": told["peak_mib"],
    }


def total(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The sums over the stages, and the greatest memory; each row gets its share of all seconds."""
    summed = {name: sum(row[name] for row in rows) for name in ("seconds", "start", "work", "end")}
    return {"stage": "all", **summed, "share": 1.0, "peak MiB": max((row["peak MiB"] for row in rows), default=0.0)}


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark that the command line asks for."""
    parser = command.arguments(__doc__)
    parser.add_argument("--stages", type=command.names, help="some, in order; all")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="changes to params.yaml, as JSON")
    parser.add_argument("--keep", type=Path, help="a folder to run in, which stays; else a temporary one")
    options = command.parsed(parser, argv)

    report = Report.of(options, torch.device("cpu"))
    folder: AbstractContextManager[str] = (
        nullcontext(str(options.keep)) if options.keep else tempfile.TemporaryDirectory()
    )
    rows: list[dict[str, Any]] = []
    with folder as name:
        root = Path(name)
        # Stages look for folders of data that git brings along, and for their own code by its place.
        for part in ("data/raw", "data/extractors"):
            (root / part).mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKOUT / "dvc.yaml", root)
        write_params(root, [f'runtime.device="{options.device}"', f"runtime.threads={options.threads}", *options.set])
        for stage in options.stages or stages():
            with report.attempt(stage):
                rows.append(run(stage, root))
                command.say(command.table(HEADS, rows[-1:]).splitlines()[-1])
                report.keep(stages=shares(rows), total=total(rows))
    command.say("\n" + command.table(HEADS, [*shares(rows), total(rows)]))


def shares(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with their shares of all seconds."""
    seconds = total(rows)["seconds"]
    return [{**row, "share": row["seconds"] / seconds} for row in rows]


if __name__ == "__main__":
    main()
