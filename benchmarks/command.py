"""What the commands have alike: their arguments, the facts of the machine, a table, and the JSON that they write."""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rediffuse import files, runtime, yaml12
from rediffuse.errors import UserError
from rediffuse.provenance.environment import cpu
from rediffuse.tables import rounded

CHECKOUT = Path(__file__).parents[1]
RESULTS = CHECKOUT / "benchmarks" / "results"

Row = Mapping[str, Any]


def bare(doc: str | None) -> argparse.ArgumentParser:
    """A parser that says what is measured, with --out."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="the JSON file to write")
    return parser


def arguments(doc: str | None, *, threads: int = 2) -> argparse.ArgumentParser:
    """As `bare`, with --device, --threads, --seed and --write."""
    parser = bare(doc)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=threads, help="CPU threads of torch")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="write it to benchmarks/results/<command>-<device>.json")
    return parser


def write(out: Path | None, result: Any) -> None:
    """The result as JSON, where --out was given."""
    if out:
        files.write_json(out, result)


def tell(out: Path | None, result: Any) -> None:
    """Print the result as JSON, and write it."""
    say(json.dumps(result, indent=2))
    write(out, result)


def parsed(parser: argparse.ArgumentParser, argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The arguments of the command line, with `out` where --write puts it; torch has its threads from here on."""
    options = parser.parse_args(argv)
    if options.write and options.out is None:
        module = Path(sys.modules["__main__"].__file__ or "benchmark").stem
        options.out = RESULTS / f"{module.replace('_', '-')}-{options.device}.json"
    torch.set_num_threads(options.threads)
    return options


def device_of(options: argparse.Namespace) -> torch.device:
    """The device that --device names.

    Raises:
        UserError: it is CUDA, and torch finds none.
    """
    if options.device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device is cuda, but torch finds no CUDA device")
    return torch.device("cuda", 0) if options.device == "cuda" else torch.device("cpu")


def machine(device: torch.device) -> dict[str, Any]:
    """What a figure depends on beside the code: the device by name, cores, threads, versions, and how busy it is.

    (That `runtime` is imported also tells cuBLAS, before it starts, to keep the workspace that repeatable sums need.)
    """
    facts: dict[str, Any] = {
        "name": cpu(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        **runtime.environment(device),
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        memory = round(properties.total_memory / 2**30, 1)
        facts |= {"processor": facts["name"], "name": properties.name, "memory_gib": memory}
    return facts


def table(heads: Sequence[str], rows: Sequence[Row]) -> str:
    """Rows as aligned text: under each head what a row holds by that name, numbers to the right, "-" for nothing."""
    shown = [[_cell(row.get(head)) for head in heads] for row in rows]
    widths = [max(len(head), *(len(line[at]) for line in shown), 0) for at, head in enumerate(heads)]
    right = [any(isinstance(row.get(head), int | float) for row in rows) for head in heads]
    lines = [
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in [list(heads), *shown]
    ]
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


@dataclass
class Report:
    """What a command found so far; each `keep` writes it whole, so that a command that is cut short leaves the rest.

    Args:
        path: of the JSON; None: nothing is written.
        found: all that was kept.
        errors: what failed, by its name, as one line.
    """

    path: Path | None
    found: dict[str, Any]
    errors: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, options: argparse.Namespace, device: torch.device) -> "Report":
        """A report that begins with the machine and the command's own settings."""
        own = {name: _plain(value) for name, value in vars(options).items() if name not in ("out", "write")}
        return cls(options.out, {"machine": machine(device), "settings": own})

    def keep(self, **parts: Any) -> None:
        """Add these parts, or put them in place of the former ones."""
        self.found |= parts
        if self.errors:
            self.found["errors"] = self.errors
        if self.path:
            files.write_json(self.path, rounded(_finite(self.found)))

    @contextmanager
    def attempt(self, name: str) -> Iterator[None]:
        """Note what goes wrong within as `name`'s error, and go on."""
        try:
            yield
        except Exception as error:  # noqa: BLE001, RUF100 - whatever one part meets must not cost the others
            self.errors[name] = f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
            say(f"{name} failed: {self.errors[name]}")
            self.keep()


@contextmanager
def clock(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Note how long the block took."""
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds[name] = time.perf_counter() - start


def say(text: str) -> None:
    """A line, seen at once."""
    sys.stdout.write(text.rstrip("\n") + "\n")
    sys.stdout.flush()


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def numbers(text: str) -> list[float]:
    """The numbers of "15,40,150"."""
    return [float(each) for each in text.split(",") if each]


def names(text: str) -> list[str]:
    """The names of "a,b"."""
    return [each for each in text.split(",") if each]


def changes(pairs: Sequence[str]) -> dict[str, Any]:
    """The values of ["train.lr=1e-3", "sample.guidance_levels=[0.3, 3]"] by their names, read as in params.yaml."""
    return {name: yaml12.parse(value, name) for name, _, value in (each.partition("=") for each in pairs)}


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return value.name  # no path of this machine
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def _finite(value: Any) -> Any:
    """Without numbers that JSON lacks."""
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, dict):
        return {str(key): _finite(each) for key, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list | tuple) else value
