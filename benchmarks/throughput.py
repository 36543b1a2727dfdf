"""How many examples a second each contender trains on, in turns on one machine, and what share of its peak that is.

    python -m benchmarks.throughput --data digits
    python -m benchmarks.throughput --device cuda --data colour32 --batch 1024 --parameters 36000000

Each round gives every contender a turn: a step that isn't counted, then a few that are; what stands in the table is the
median over the rounds, and `spread` half the distance of the quartiles as a share of it. `ratio` is ours over theirs,
the median over the rounds. TFLOP/s are those of the network alone, a multiplication and an addition as two, with the
backward pass as two forward passes: 3 × FLOPs of a forward pass × examples/s. `of bf16` and `of fp32` are its shares of
the best square matrix product of this run. `MB/example` is what the step's operations read and write if none is fused
and nothing stays in a cache, and `of copy` the bandwidth that this needs as a share of a large copy's: above 1 means
that fusion and caches spare it. Memory is what torch allocated at most on CUDA; on the CPU the greatest resident set of
a process of its own that takes three steps, Python and torch included.

On CUDA our own run is measured with deterministic algorithms and without, compiled and not (`--variants`).
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks import command, memory_of
from benchmarks.command import Report
from benchmarks.contenders import CONTENDERS, Contender, Task
from benchmarks.peaks import peaks
from benchmarks.pictures import add_data, pictures, task_of
from benchmarks.traffic import bytes_of
from benchmarks.turns import Turned, interleaved, spread
from benchmarks.variants import VARIANTS, varied

OURS = "rediffuse"
HEADS = (
    "contender",
    "parameters",
    "examples/s",
    "spread",
    "ratio",
    "TFLOP/s",
    "of bf16",
    "of fp32",
    "MB/example",
    "of copy",
    "peak MiB",
)

Build = Callable[[Task], Contender]


@dataclass(frozen=True)
class Runner:
    """A contender that is ready to take its turns.

    Args:
        turned: it, with its switches.
        steps: that count in a turn.
        first_seconds: from before it was built to the end of its first step, compilation included.
        peak_mib: on CUDA, of what it holds and uses.
    """

    turned: Turned
    steps: int
    first_seconds: float
    peak_mib: float | None

    @classmethod
    def ready(cls, build: Build, task: Task, seconds: float) -> "Runner":
        """Build it and warm it up; a turn then takes about so many seconds."""
        before = memory_of.cleared(task.device)
        start = time.perf_counter()
        turned = Turned.built(lambda: build(task))
        turned.do(lambda contender: contender.train(1))
        first = time.perf_counter() - start
        # The second step may still compile or choose kernels.
        turned.do(lambda contender: contender.train(2))
        start = time.perf_counter()
        turned.do(lambda contender: contender.train(2))
        step = (time.perf_counter() - start) / 2
        peak = memory_of.allocated_peak(task.device, before)
        return cls(turned, max(1, round(seconds / max(step, 1e-6))), first, peak)

    def turn(self) -> float:
        """Seconds of the steps that count."""
        return float(self.turned.do(self._timed))

    def _timed(self, contender: Contender) -> float:
        contender.train(1)
        start = time.perf_counter()
        contender.train(self.steps)
        return time.perf_counter() - start


def measured(
    builds: dict[str, Build], task: Task, *, rounds: int, seconds: float, report: Report
) -> tuple[dict[str, Runner], dict[str, list[float]]]:
    """The runners that could be built, and the examples/s of each round of each; errors go to the report."""
    runners: dict[str, Runner] = {}
    for name, build in builds.items():
        with report.attempt(name):
            runners[name] = Runner.ready(build, task, seconds)
            report.keep()
    broken: set[str] = set()

    def turn(name: str) -> Callable[[], float]:
        def take() -> float:
            if name not in broken:
                with report.attempt(name):
                    return runners[name].turn()
                broken.add(name)
            return float("nan")

        return take

    seconds_of = interleaved({name: turn(name) for name in runners}, rounds)
    rates = {
        name: [runners[name].steps * task.batch_size / each for each in found]
        for name, found in seconds_of.items()
        if name not in broken
    }
    return {name: runners[name] for name in rates}, rates


def described(
    name: str, runner: Runner, rates: dict[str, list[float]], ours: str, peak: dict[str, float]
) -> dict[str, Any]:
    """One contender's row, with its TFLOP/s and the shares of what the device can do."""
    contender: Contender = runner.turned.made
    rate = statistics.median(rates[name])
    row: dict[str, Any] = {
        "contender": name,
        "setting": contender.setting,
        "parameters": contender.parameters,
        "examples/s": rate,
        "rounds": rates[name],
        "spread": spread(rates[name]),
        "first step s": runner.first_seconds,
        "steps a turn": runner.steps,
        "peak MiB": runner.peak_mib,
    }
    if ours in rates:
        row["ratio"] = statistics.median(a / b for a, b in zip(rates[ours], rates[name], strict=True))
    flops = float(runner.turned.do(lambda made: made.flops()))
    row |= {"forward GFLOP": flops / 1e9, "TFLOP/s": 3 * flops * rate / 1e12}
    row |= {f"of {kind}": row["TFLOP/s"] / peak[f"{kind}_tflops"] for kind in ("bf16", "fp32")}
    return row


def moved(runner: Runner, rate: float, peak: dict[str, float], batch: int) -> dict[str, float]:
    """The columns of the memory's bandwidth; a step that isn't compiled may need more memory than there is."""
    each = runner.turned.do(lambda made: bytes_of(lambda: made.train(1))) / batch
    return {"MB/example": each / 1e6, "of copy": each * rate / (peak["copy_gb_per_s"] * 1e9)}


def memory_in_child(name: str, options: dict[str, Any]) -> float:
    """MiB of a process that builds this contender and takes three steps; what `memory_of.in_process` runs."""
    torch.set_num_threads(options["threads"])
    data = pictures(options["data"], path=Path(options["path"]), count=options["count"], seed=options["seed"])
    CONTENDERS[name](task_of(data, options, torch.device("cpu"))).train(3)
    return memory_of.peak_mib()


def compared(
    builds: dict[str, Build], task: Task, peak: dict[str, float], options: argparse.Namespace, report: Report, ours: str
) -> list[dict[str, Any]]:
    """The rows of one table."""
    torch._dynamo.reset()  # what an earlier table compiled holds its contenders' memory
    runners, rates = measured(builds, task, rounds=options.rounds, seconds=options.turn, report=report)
    rows = []
    for name, runner in runners.items():
        row: dict[str, Any] = {"contender": name, "examples/s": statistics.median(rates[name])}
        with report.attempt(f"{name}: description"):
            row = described(name, runner, rates, ours, peak)
        with report.attempt(f"{name}: memory traffic"):
            row |= moved(runner, row["examples/s"], peak, task.batch_size)
        rows.append(row)
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark that the command line asks for."""
    parser = command.arguments(__doc__)
    add_data(parser)
    parser.add_argument("--contenders", type=command.names, default=list(CONTENDERS), help="a,b; all")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--parameters", type=int, default=0, help="about so many weights; 0: each one's default")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--turn", type=float, default=2.0, help="seconds of a turn, about")
    parser.add_argument("--variants", type=command.names, help="of our own run; on CUDA all, else none")
    parser.add_argument("--no-memory", action="store_true", help="on the CPU: no process for each one's memory")
    parser.add_argument("--quick", action="store_true", help="small peaks, for a test")
    options = command.parsed(parser, argv)

    device = command.device_of(options)
    report = Report.of(options, device)
    data = pictures(options.data, path=options.path, count=options.count, seed=options.seed)
    task = task_of(data, vars(options), device)
    peak = peaks(device, quick=options.quick)
    report.keep(peaks=peak)
    command.say(
        f"{report.found['machine']['name']}: {peak['bf16_tflops']:.3g} TFLOP/s bf16, {peak['fp32_tflops']:.3g} fp32, "
        f"{peak['copy_gb_per_s']:.3g} GB/s copied"
    )

    rows = compared({name: CONTENDERS[name] for name in options.contenders}, task, peak, options, report, OURS)
    if device.type == "cpu" and not options.no_memory:
        for row in rows:
            with report.attempt(f"{row['contender']}: memory"):
                row["peak MiB"] = memory_of.in_process(memory_in_child, row["contender"], _plain(options))
    report.keep(contenders=rows)
    command.say(command.table(HEADS, rows))

    chosen = options.variants if options.variants is not None else list(VARIANTS) if device.type == "cuda" else []
    if chosen:
        variants = compared({name: varied(name) for name in chosen}, task, peak, options, report, chosen[0])
        report.keep(variants=variants)
        command.say(f"ratio: {chosen[0]} over the others\n" + command.table(HEADS, variants))


def _plain(options: argparse.Namespace) -> dict[str, Any]:
    """What a child needs of the arguments, picklable."""
    return {
        name: getattr(options, name) for name in ("threads", "data", "path", "count", "seed", "batch", "parameters")
    }


if __name__ == "__main__":
    main()
