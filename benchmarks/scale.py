"""How time and memory grow: of a training step with batch, resolution, weights and data, of sampling with the images.

    python -m benchmarks.scale
    python -m benchmarks.scale --device cuda --parts batch,resolution,parameters --size base --side 32

Each table changes one size and keeps the others, rediffuse's `model.size` and the images' channels among them; under it
stands the fitted exponent b of cost ≈ a·size^b, over all sizes and over the two largest: 1 is a straight line, 0 a cost
that doesn't grow, and by the side of the images a straight line in their pixels is 2. Images are drawn from a seed,
because time is the question. On the CPU each row is a process of its own, and memory its greatest resident set, Python
and torch included (so exponents of memory are told above that of the smallest row's process before it trains); on CUDA
it is what torch allocated at most. `data` holds rows of 8×8 bytes that a step draws its batch from; `processes` asks
benchmarks.processes, which has one and two.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import command, memory_of
from benchmarks.command import CHECKOUT, Report
from benchmarks.contenders import CONTENDERS, Task, own
from benchmarks.pictures import CLASSES, clouds
from benchmarks.slopes import exponent, last_exponent
from benchmarks.turns import Turned

PARTS = ("batch", "resolution", "parameters", "data", "sampling", "processes")
SIZES: dict[str, dict[str, list[int]]] = {
    "cpu": {
        "batch": [16, 32, 64, 128, 256, 512],
        "resolution": [8, 16, 32, 64],
        "parameters": [100_000, 300_000, 1_000_000, 3_000_000],
        "data": [1_000, 10_000, 100_000, 1_000_000],
        "sampling": [16, 64, 256, 1024],
    },
    "cuda": {
        "batch": [64, 128, 256, 512, 1024, 2048],
        "resolution": [8, 16, 32, 64],
        "parameters": [10_000_000, 40_000_000, 90_000_000],
        "data": [1_000, 10_000, 100_000, 1_000_000],
        "sampling": [64, 256, 1024, 4096],
    },
}
OURS = "rediffuse"
COSTS = ("ms a step", "ms in all", "build s", "memory MiB")


@dataclass(frozen=True)
class Point:
    """What one row is measured of.

    Args:
        part: which size is the one that changes; of "sampling" images are drawn, else steps taken.
        contender: a name.
        device: "cpu" or "cuda".
        threads: of torch.
        size: `model.size`, of rediffuse; peers know none.
        batch, side, channels, parameters, rows: of the training.
        images: to be drawn.
        seconds: to spend on the steps, about.
        seed: of everything drawn.
    """

    part: str
    contender: str
    device: str
    threads: int
    size: str = "tiny"
    batch: int = 128
    side: int = 8
    channels: int = 1
    parameters: int = 0
    rows: int = 4096
    images: int = 0
    seconds: float = 3.0
    seed: int = 0


def at(point: Point, size: int) -> Point:
    """The point with another size of its part."""
    names = {"batch": "batch", "resolution": "side", "parameters": "parameters", "data": "rows", "sampling": "images"}
    changed: dict[str, Any] = {names[point.part]: size}
    return replace(point, **changed)


def measure(point: Point) -> dict[str, Any]:
    """Milliseconds of a step (or of all images), seconds to build, and MiB."""
    torch.set_num_threads(point.threads)
    device = torch.device(point.device)
    images, labels = clouds(point.rows, point.side, point.channels, point.seed)
    task = Task(
        images=images,
        labels=labels,
        classes=CLASSES,
        batch_size=point.batch,
        device=device,
        parameters=point.parameters,
        seconds=None,
        seed=point.seed,
    )
    before, resident = memory_of.cleared(device), memory_of.peak_mib()
    seconds: dict[str, float] = {}
    with command.clock(seconds, "build"):
        sized = partial(own.build, changes={"model.size": point.size})
        build = sized if point.contender == OURS else CONTENDERS[point.contender]
        turned = Turned.built(partial(build, task))
    found = {"parameters": turned.made.parameters, "build s": seconds["build"]}
    with command.clock(seconds, "first"):
        turned.do(lambda made: made.train(1))
    if point.images:
        wanted = np.arange(point.images, dtype=np.int64) % CLASSES
        for name in ("warm", "images"):
            with command.clock(seconds, name):
                turned.do(lambda made: made.images(wanted, point.seed))
        found["ms in all"] = 1e3 * seconds["images"]
    else:
        found["ms a step"] = 1e3 * step_seconds(turned, point.seconds)
    peak = memory_of.allocated_peak(device, before)
    return found | {
        "memory MiB": memory_of.peak_mib() if peak is None else peak,
        "before MiB": resident if peak is None else 0.0,
    }


def step_seconds(turned: Turned, seconds: float) -> float:
    """The median over a few stretches of steps, after two that aren't counted."""

    def stretch(steps: int) -> float:
        start = time.perf_counter()
        turned.do(lambda made: made.train(steps))
        return (time.perf_counter() - start) / steps

    pace = stretch(2)
    many = max(1, round(seconds / 5 / max(pace, 1e-9)))
    return statistics.median(stretch(many) for _ in range(5))


def growth(sizes: Sequence[float], rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float | None]]:
    """The exponents of each cost; memory above what the process had before."""
    found = {}
    for cost in COSTS:
        costs = [
            row[cost] - row.get("before MiB", 0.0) if cost == "memory MiB" else row[cost]
            for row in rows
            if row.get(cost) is not None
        ]
        if len(costs) == len(sizes) > 1:
            found[cost] = {"all": exponent(sizes, costs), "last two": last_exponent(sizes, costs)}
    return found


def part(point: Point, sizes: Sequence[int], report: Report) -> dict[str, Any]:
    """The rows of one table, and how their costs grow."""
    rows = []
    for size in sizes:
        with report.attempt(f"{point.part} {size}"):
            here = at(point, size)
            found = measure(here) if point.device == "cuda" else memory_of.in_process(measure, here)
            rows.append({point.part: size, **found})
    # The width that comes nearest has not quite as many weights as were asked for.
    real = [row["parameters"] if point.part == "parameters" else row[point.part] for row in rows]
    return {"rows": rows, "exponents": growth(real, rows)}


def processes(device: str) -> Any:
    """What benchmarks.processes says."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "processes.json"
        environment = os.environ | {"PYTHONPATH": f"{CHECKOUT}{os.pathsep}{CHECKOUT / 'src'}"}
        asked = [sys.executable, "-m", "benchmarks.processes", "--device", device, "--out", str(out)]
        subprocess.run(asked, cwd=CHECKOUT, env=environment, check=True, capture_output=True, timeout=300)
        return json.loads(out.read_text())


def shown(name: str, found: dict[str, Any]) -> str:
    """A table, and its exponents below."""
    heads = (name, *(["parameters"] if name != "parameters" else []), *COSTS)
    kept = [head for head in heads if any(head in row for row in found["rows"])]
    lines = [command.table(kept, found["rows"]).rstrip()]
    for cost, fitted in found["exponents"].items():
        said = ", ".join(f"{which} {value:.2f}" for which, value in fitted.items() if value is not None)
        lines.append(f"{cost} ∝ {name}^b: {said or 'not fitted'}")
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark that the command line asks for."""
    parser = command.arguments(__doc__)
    parser.add_argument("--parts", type=command.names, default=list(PARTS), help=f"some of {','.join(PARTS)}")
    parser.add_argument("--contenders", type=command.names, default=["rediffuse"])
    parser.add_argument("--sizes", type=command.numbers, help="in place of each part's own")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--side", type=int, default=8, help="pixels, where it isn't what changes")
    parser.add_argument("--size", default="tiny", help="model.size of rediffuse")
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--parameters", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=3.0, help="of the steps of a row, about")
    options = command.parsed(parser, argv)

    report = Report.of(options, command.device_of(options))
    for contender in options.contenders:
        found: dict[str, Any] = {}
        for name in options.parts:
            if name == "processes":
                continue
            sizes = [int(size) for size in options.sizes or SIZES[options.device][name]]
            found[name] = part(base(options, name, contender), sizes, report)
            report.keep(**{contender: found})
            command.say(f"{contender}\n{shown(name, found[name])}")
    if "processes" in options.parts:
        with report.attempt("processes"):
            report.keep(processes=processes(options.device))
            command.say(json.dumps(report.found["processes"]["networks"], indent=2))


def base(options: argparse.Namespace, name: str, contender: str) -> Point:
    """What stays as one size changes."""
    return Point(
        part=name,
        contender=contender,
        device=options.device,
        threads=options.threads,
        size=options.size,
        batch=options.batch,
        side=options.side,
        channels=options.channels,
        parameters=options.parameters,
        seconds=options.seconds,
        seed=options.seed,
    )


if __name__ == "__main__":
    main()
