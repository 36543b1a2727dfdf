"""All benchmarks that need a GPU, one after the other, within eight minutes, into one JSON.

    python -m benchmarks.gpu --device cuda --name h100
    python -m benchmarks.gpu --device cpu --quick --out FILE

Each part is a command of its own with a limit of time; the order is that of importance. The JSON is written after each
part, so that a run that is cut keeps what it has; a part that fails or is ended leaves its error beside what it had
written until then. This process never touches the GPU itself.

1. throughput: 3×32×32, about 36 M weights, batch 1024, all contenders; then ours with deterministic algorithms and
   without, and compiled.
2. repeat: the same bytes twice, after a kill and on two processes; then compiled.
3. quality: Fashion-MNIST, ours, CAS and FD beside its floor, from 10,000 generated images.
4. sampling: FD and time by sampler and evaluations.
5. peers: their FD and CAS on Fashion-MNIST after as many seconds, from fewer images, as their samplers take up to 250
   evaluations; `fd_by_count` of ours compares.
6. CUDA graphs, a profile, what several processes cost, and scale, as far as the time goes.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks import command
from benchmarks.command import CHECKOUT, RESULTS
from benchmarks.garments import FOLDER
from rediffuse import files
from rediffuse.tables import rounded

SECONDS = 480.0
GRACE = 5.0
"""Seconds between asking a part to end and ending it."""
LEAST = 15.0
"""A part isn't begun with less time left."""


@dataclass(frozen=True)
class Part:
    """One command.

    Args:
        name: under which its JSON stands.
        module: what `python -m` runs.
        arguments: but for --device and --out.
        seconds: after which it is ended.
    """

    name: str
    module: str
    arguments: tuple[str, ...]
    seconds: float


def parts(path: Path) -> list[Part]:
    """Those of a GPU like an H100.

    Args:
        path: the folder with Fashion-MNIST's IDX files.
    """
    fashion = ("--data", "fashion", "--path", str(path), *_THREADS)
    large = ("--batch", "1024", "--parameters", "36000000", *_THREADS)
    colour = ("--data", "colour32")
    # Without the article's thousand evaluations an image.
    peers = "diffusers,denoising-diffusion-pytorch"
    return [
        Part("throughput", "throughput", (*colour, "--rounds", "4", "--turn", "1.5", *large, *_NO_VARIANTS), 80),
        Part("compiled", "throughput", (*_OURS, *colour, "--variants", "deterministic,free,compiled", *large), 90),
        Part("repeat", "repeat", ("--quick",), 35),
        Part("repeat compiled", "repeat", ("--quick", "--profile", "compiled"), 60),
        Part("quality", "time_to_quality", _quality(fashion, "rediffuse", "30", "10000"), 85),
        Part("sampling", "sampling", (*fashion, *_SAMPLING), 45),
        Part("peers", "time_to_quality", _quality(fashion, peers, "30", "500"), 85),
        Part("graphs", "throughput", (*_OURS, *colour, "--variants", "deterministic,graphs", *large), 60),
        Part("profiles", "profiles", ("--settings", "colour32", "--steps", "5", "--images", "1024", *large), 40),
        Part("processes", "processes", (), 45),
        Part("scale", "scale", ("--parts", "batch,sampling", *_SCALE), 60),
    ]


def quick_parts() -> list[Part]:
    """The same commands at sizes that a CPU does in seconds; to see that they run."""
    one = ("--threads", "1")
    digits = ("--data", "digits", "--count", "256", "--contenders", "rediffuse", "--batch", "32", *one)
    judged = (*digits, "--images", "64", "--judge-steps", "5")
    small = ("--peer-images", "2", "--train", "1", "--evaluations", "3,250", "--samplers", "ddim", "--batches", "2")
    steps = ("--batch", "16", "--sizes", "16,32", "--seconds", "0.1", *one)
    return [
        Part("throughput", "throughput", (*digits, "--rounds", "2", "--turn", "0.1", "--quick", "--no-memory"), 60),
        Part("quality", "time_to_quality", (*judged, "--seconds", "1", "--cas"), 60),
        Part("sampling", "sampling", (*judged, *small), 60),
        Part("profiles", "profiles", ("--settings", "digits", "--steps", "1", "--images", "4", "--quick", *one), 60),
        Part("scale", "scale", ("--parts", "batch", *steps), 60),
    ]


_THREADS = ("--threads", "8")
_NO_VARIANTS = ("--variants", "")
_OURS = ("--contenders", "rediffuse", "--rounds", "3", "--turn", "1.5")
_SCALE = (*_THREADS, "--size", "base", "--batch", "256", "--side", "32", "--channels", "3", "--seconds", "1")
_SAMPLING = (
    *("--train", "20", "--batch", "512", "--images", "5000", "--sample-batch", "1250", "--contenders", "rediffuse"),
    *("--evaluations", "5,10,15,20,35,50,100,250", "--samplers", "dpmpp_2m,heun", "--peer-images", "1024"),
)


def _quality(data: tuple[str, ...], contenders: str, seconds: str, images: str) -> tuple[str, ...]:
    asked = ("--contenders", contenders, "--seconds", seconds, "--images", images)
    return (*data, *asked, "--batch", "512", "--cas")


def run_part(part: Part, device: str, out: Path, limit: float) -> dict[str, Any]:
    """What a part took, what it wrote, and its error where it failed or was ended.

    Args:
        out: the file that it writes.
        limit: seconds that it may take.
    """
    paths = os.pathsep.join(map(str, (CHECKOUT, CHECKOUT / "src")))
    # All that it prints goes to a file: a pipe that a grandchild holds open would outlast it.
    with tempfile.TemporaryFile() as printed:
        start = time.perf_counter()
        process = subprocess.Popen(
            _asked(part, device, out),
            cwd=CHECKOUT,
            env=os.environ | {"PYTHONPATH": paths},
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        error = _waited(process, limit)
        found: dict[str, Any] = {"seconds": time.perf_counter() - start}
        if process.returncode and not error:
            printed.seek(0)
            error = f"ended with {process.returncode}: {printed.read().decode(errors='replace').strip()[-500:]}"
    if error:
        found["error"] = error
    try:
        found["result"] = files.read_json(out)
    except (OSError, ValueError):
        found["result"] = None
    return found


def _asked(part: Part, device: str, out: Path) -> list[str]:
    module = f"benchmarks.{part.module}"
    return [sys.executable, "-m", module, "--device", device, "--out", str(out), *part.arguments]


def _waited(process: "subprocess.Popen[bytes]", limit: float) -> str | None:
    """Wait for it; end it and all that it started where it takes longer, and say so."""
    try:
        process.wait(limit)
    except subprocess.TimeoutExpired:
        pass
    else:
        return None
    for sent in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sent)
            process.wait(GRACE)
            break
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue
    process.wait()
    return f"took longer than {limit:.0f} s"


Runner = Callable[[Part, str, Path, float], dict[str, Any]]


def run_all(
    chosen: Sequence[Part], device: str, out: Path, seconds: float, settings: dict[str, Any], run: Runner = run_part
) -> dict[str, Any]:
    """Run the parts in turn within so many seconds; `out` is written after each.

    Args:
        settings: what the JSON begins with.
        run: see `run_part`.
    """
    start = time.perf_counter()
    result: dict[str, Any] = {"settings": settings, "parts": {}}
    with tempfile.TemporaryDirectory() as folder:
        for part in chosen:
            left = seconds - (time.perf_counter() - start)
            if left < LEAST:
                found: dict[str, Any] = {"error": f"not begun: {max(left, 0):.0f} s were left", "result": None}
            else:
                try:
                    found = run(part, device, Path(folder) / f"{part.name}.json", min(part.seconds, left - GRACE))
                except Exception as error:  # noqa: BLE001, RUF100 - the other parts go on
                    found = {"error": f"{type(error).__name__}: {error}", "result": None}
            result["parts"][part.name] = {"arguments": list(_without_paths(part.arguments)), **found}
            told = found.get("result") or {}
            if "machine" in told:
                result.setdefault("machine", told["machine"])
            result["seconds"] = time.perf_counter() - start
            files.write_json(out, rounded(result))
            took = found.get("seconds", 0.0)
            command.say(f"{part.name}: {found.get('error') or f'done in {took:.0f} s'}")
    return result


def _without_paths(arguments: Sequence[str]) -> list[str]:
    return [Path(each).name if os.sep in each else each for each in arguments]


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark that the command line asks for."""
    parser = command.arguments(__doc__)
    parser.add_argument("--name", default="gpu", help="of the card, in the file's name: h100")
    parser.add_argument("--path", type=Path, default=FOLDER, help="the folder with Fashion-MNIST's IDX files")
    parser.add_argument("--parts", type=command.names, help="some, by name; all")
    parser.add_argument("--within", type=float, default=SECONDS, help="seconds in all")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that all runs")
    parser.set_defaults(device="cuda")
    options = command.parsed(parser, argv)
    if options.device == "cpu" and not options.quick:
        parser.error("on a CPU these sizes take hours: use --quick, or the commands one by one")

    offered = quick_parts() if options.quick else parts(options.path.resolve())
    chosen = [part for part in offered if options.parts is None or part.name in options.parts]
    out = options.out or RESULTS / f"gpu-{options.name}.json"
    settings = {"name": options.name, "device": options.device, "within": options.within, "torch": torch.__version__}
    result = run_all(chosen, options.device, out, options.within, settings)
    command.say(
        command.table(
            ("part", "seconds", "error"), [{"part": name, **found} for name, found in result["parts"].items()]
        )
    )


if __name__ == "__main__":
    main()
