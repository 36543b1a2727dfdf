"""Where the time of a training step and of a batch of sampling goes, by torch's profiler, and what limits it.

    python -m benchmarks.profiles --settings digits,fashion --text FILE
    python -m benchmarks.profiles --device cuda --settings colour32

For each setting our contender takes a few steps to warm up, then some under the profiler: the operations that take most
of the time by themselves, with their share, and the shares of kinds of operations. Beside it stands what the profiler
does not see: the time of a step without it, the TFLOP/s attained (3 × those of a forward pass × examples/s) and their
share of the best matrix product of the same run. On CUDA times are the device's, and `busy` is their sum over the time
by the clock: well below 1 the device waits for Python.
"""

import re
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks import command
from benchmarks.command import Report
from benchmarks.contenders import CONTENDERS, Contender
from benchmarks.peaks import peaks
from benchmarks.pictures import DATA, pictures, task_of
from benchmarks.turns import Turned
from rediffuse import files

KINDS = {
    "convolution": r"conv|wgrad|dgrad|implicit_gemm|xmma_fprop|cudnn.*(fprop|bprop)",
    "attention": r"attention|flash|fmha|softmax",
    "matrix product": r"\bmm\b|addmm|bmm|gemm|linear|cutlass|matmul",
    "norm": r"norm|welford",
    "optimizer, average": r"adam|foreach|lerp|multi_tensor",
    "copy, layout": r"copy|clone|contiguous|memcpy|memset|transpose|cat\b|nchw|nhwc|to_copy|reorder",
    "fused by the compiler": r"triton|graph_\d|cpp_fused",
    "indexing": r"index|gather|scatter|embedding",
    "random": r"rand|normal_|uniform_|bernoulli|philox",
}
HEADS = ("operation", "kind", "calls", "ms", "share")


def kind_of(name: str) -> str:
    """The kind of an operation or a kernel, by its name."""
    return next((kind for kind, pattern in KINDS.items() if re.search(pattern, name, re.IGNORECASE)), "other")


def profiled(work: Callable[[], object], times: int, device: torch.device, top: int = 12) -> dict[str, Any]:
    """What `work` takes, `times` times: the first operations by their own time, and shares of all kinds.

    Args:
        top: how many operations are told.
    """
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    start = time.perf_counter()
    for _ in range(times):
        work()
    command.synchronize(device)
    wall = (time.perf_counter() - start) / times
    with profile(activities=activities) as found:
        for _ in range(times):
            work()
        command.synchronize(device)
    rows = []
    for event in found.key_averages():
        # On CUDA an operation's own device time is its kernels', which stand there by themselves, too.
        if device.type == "cuda" and event.device_type.name != "CUDA":
            continue
        microseconds = event.self_device_time_total if device.type == "cuda" else event.self_cpu_time_total
        rows.append({"operation": event.key[:80], "kind": kind_of(event.key), "calls": event.count / times})
        rows[-1]["ms"] = microseconds / 1e3 / times
    return {"ms by the clock": 1e3 * wall, **summed(rows, wall, top)}


def summed(rows: list[dict[str, Any]], wall: float, top: int) -> dict[str, Any]:
    """The first rows with their shares, the shares of kinds, and how busy the device was in `wall` seconds."""
    whole = sum(row["ms"] for row in rows) or 1.0
    ordered = sorted(({**row, "share": row["ms"] / whole} for row in rows), key=lambda row: -row["ms"])
    kinds: dict[str, float] = {}
    for row in ordered:
        kinds[row["kind"]] = kinds.get(row["kind"], 0.0) + row["share"]
    return {
        "operations": ordered[:top],
        "kinds": dict(sorted(kinds.items(), key=lambda item: -item[1])),
        "busy": whole / 1e3 / wall,
    }


def limits(found: dict[str, Any], share: float, cuda: bool) -> str:
    """What holds it back, as a sentence.

    Args:
        share: attained TFLOP/s by the best matrix product's of the same precision.
    """
    arithmetic = sum(found["kinds"].get(kind, 0.0) for kind in ("convolution", "attention", "matrix product"))
    said = f"{arithmetic:.0%} of the time is convolutions, attention and matrix products, at {share:.1%} of the peak"
    if cuda and found["busy"] < 0.8:
        return f"{said}; the device is busy {found['busy']:.0%} of the time: launches limit it"
    if arithmetic < 0.5:
        return f"{said}; what only moves numbers ({', '.join(list(found['kinds'])[:3])} first) limits it"
    return f"{said}; their arithmetic limits it, at the sizes that these layers have"


def of_setting(turned: Turned, steps: int, images: int, peak: dict[str, float]) -> dict[str, Any]:
    """Both profiles of a contender."""
    contender: Contender = turned.made
    task = contender.task
    labels = np.arange(images, dtype=np.int64) % task.classes
    turned.do(lambda made: made.train(3))
    turned.do(lambda made: made.images(labels, 0))
    training = turned.do(lambda made: profiled(lambda: made.train(1), steps, task.device))
    sampling = turned.do(lambda made: profiled(lambda: made.images(labels, 0), 1, task.device))
    flops = contender.flops()
    # A step has a backward pass, as much again twice; an image takes its evaluations.
    works = {
        "training": (training, 3 * flops * task.batch_size),
        "sampling": (sampling, flops * contender.evaluations * images),
    }
    kind = "bf16" if "bf16" in contender.setting else "fp32"
    for found, operations in works.values():
        found["TFLOP/s"] = operations / (found["ms by the clock"] / 1e3) / 1e12
        found["share of peak"] = found["TFLOP/s"] / peak[f"{kind}_tflops"]
        found["limits"] = limits(found, found["share of peak"], task.device.type == "cuda")
    facts = {"setting": contender.setting, "parameters": contender.parameters, "precision": kind, "images": images}
    return {**facts, **{name: found for name, (found, _) in works.items()}}


def text_of(name: str, found: dict[str, Any]) -> str:
    """A setting's tables for people."""
    parts = [f"{name}: {found['setting']}; {found['parameters']:,} parameters"]
    for work in ("training", "sampling"):
        here = found[work]
        what = "step" if work == "training" else f"batch of {found['images']} images"
        parts.append(f"{work}, {here['ms by the clock']:.4g} ms a {what}, {here['TFLOP/s']:.3g} TFLOP/s")
        parts.append(command.table(HEADS, here["operations"]).rstrip())
        parts.append(", ".join(f"{kind} {share:.0%}" for kind, share in here["kinds"].items()))
        parts.append(f"{here['limits']}\n")
    return "\n".join(parts)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark that the command line asks for."""
    parser = command.arguments(__doc__)
    parser.add_argument("--settings", type=command.names, default=["digits", "fashion"], help=f"some of {DATA}")
    parser.add_argument("--contender", choices=list(CONTENDERS), default="rediffuse")
    parser.add_argument("--path", type=Path, help="of fashion: the folder with its IDX files")
    parser.add_argument("--count", type=int, default=10_000, help="training images, at most")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--parameters", type=int, default=0)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--quick", action="store_true", help="small peaks, for a test")
    parser.add_argument("--text", type=Path, help="a file for the tables")
    options = command.parsed(parser, argv)

    device = command.device_of(options)
    report = Report.of(options, device)
    peak = peaks(device, quick=options.quick)
    report.keep(peaks=peak)
    texts, profiles = [], {}
    for name in options.settings:
        with report.attempt(name):
            where = {"path": options.path} if options.path else {}
            data = pictures(name, count=options.count, seed=options.seed, **where)
            task = task_of(data, vars(options), device)
            turned = Turned.built(partial(CONTENDERS[options.contender], task))
            profiles[name] = of_setting(turned, options.steps, options.images, peak)
            report.keep(profiles=profiles)
            texts.append(text_of(name, profiles[name]))
            command.say(texts[-1])
            if options.text:
                files.write_bytes(options.text, "\n".join(texts).encode())


if __name__ == "__main__":
    main()
