"""How fast prepare and clean are, what memory they take as the data grows, and what 1 % more images cost.

    python -m benchmarks.data_scale --images 20000 200000 --fashion /usr/share/datasets/fashion-mnist

The source is Parquet files of 10,000 28×28 grey PNG images each: blends of two images of Fashion-MNIST where a folder
with its IDX files is given, else of blurred spots; 1 % are exact copies. Each stage is the command that DVC runs, with
params.yaml as it is but for the source and tracking; seconds are the whole process's, its start included. Memory is
sampled from /proc (so only on Linux): the peak of the stage's own process, the greatest of a worker, and the greatest
sum over all at one time, in which pages that processes share count for each.

The second table takes the largest data set, which is prepared and cleaned already, and runs both stages again: with
nothing changed, with 1 % more images in a file at the end, and with 1 % more in small files between the others.
"""

import argparse
import gzip
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rediffuse import files, yaml12
from rediffuse.data.png import encode_png
from rediffuse.data.shards import read_manifest
from rediffuse.tables import rounded
from rediffuse.workspace import Workspace

CHECKOUT = Path(__file__).parents[1]
PART = 10_000  # images in one file of the source
SIDE = 28
CLASSES = 10
STAGES = ("prepare", "clean")
MEMORY = ("main", "worker", "together")

Pictures = Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Measured:
    """One run of a stage; memory in MiB."""

    seconds: float
    main: float
    worker: float
    together: float


def spots(draw: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (uint8, count×28×28) of four blurred spots, the first two near where their class has them; labels."""
    labels = draw.integers(0, CLASSES, count)
    homes = np.random.default_rng(1).uniform(6, 22, (CLASSES, 2, 2))
    centres = draw.uniform(3, 25, (count, 4, 2))
    centres[:, :2] = homes[labels] + draw.normal(0, 1.5, (count, 2, 2))
    widths = draw.uniform(1.5, 5, (count, 4, 1))
    y, x = (np.exp(-(((np.arange(SIDE) - centres[..., axis, None]) / widths) ** 2) / 2) for axis in (0, 1))
    light = np.einsum("nk,nky,nkx->nyx", draw.uniform(60, 255, (count, 4)), y, x)
    return np.clip(light + draw.normal(0, 6, light.shape), 0, 255).astype(np.uint8), labels


def blends(folder: Path) -> Pictures:
    """A function that gives blends of two training images of Fashion-MNIST; the label is the heavier one's."""
    pixels, names = (
        np.frombuffer(gzip.decompress((folder / f"train-{name}-ubyte.gz").read_bytes()), np.uint8, offset=offset)
        for name, offset in (("images-idx3", 16), ("labels-idx1", 8))
    )
    images, labels = pixels.reshape(-1, SIDE, SIDE), names.astype(np.int64)

    def blended(draw: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
        first, second = draw.integers(0, len(images), (2, count))
        share = draw.uniform(0.6, 0.9, (count, 1, 1))
        return (share * images[first] + (1 - share) * images[second]).astype(np.uint8), labels[first]

    return blended


def write_part(path: Path, pictures: Pictures, seed: list[int], count: int) -> None:
    """One file of the source; of 100 images the last is a copy of the first."""
    images, labels = pictures(np.random.default_rng(seed), count)
    contents = [encode_png(image) for image in images]
    contents[99::100] = contents[: max(0, count - 99) : 100]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"image": pa.array(contents, pa.binary()), "label": labels}), path)


def write_source(folder: Path, pictures: Pictures, count: int) -> None:
    """The whole source; a larger one begins with the same files."""
    for part, start in enumerate(range(0, count, PART)):
        write_part(folder / f"part-{part:05d}.parquet", pictures, [0, part], min(PART, count - start))


def write_params(root: Path, runtime: dict[str, Any]) -> None:
    """params.yaml of the checkout, with this source and without tracking; JSON is YAML, too."""
    document = yaml12.load(CHECKOUT / "params.yaml")
    document["prepare"] |= {"source": "parquet", "path": "raw"}
    document["runtime"] |= {"tracking": False, "progress": False} | runtime
    files.write_json(root / "params.yaml", document)


def run(stage: str, root: Path) -> Measured:
    """Run a stage as DVC does, and watch it and its workers."""
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT), "DVC_ROOT": str(root)}
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", f"stages.{stage}"], cwd=root, env=environment)
    peaks: dict[int, float] = {}
    together = 0.0
    while process.poll() is None:
        memory = {pid: _memory(pid) for pid in _family(process.pid)}
        for pid, (peak, _) in memory.items():
            peaks[pid] = max(peak, peaks.get(pid, 0))
        together = max(together, sum(now for _, now in memory.values()))
        time.sleep(0.02)
    seconds = time.perf_counter() - start
    if process.returncode:
        raise SystemExit(f"stage {stage} ended with {process.returncode}")
    main = peaks.pop(process.pid)
    return Measured(seconds=seconds, main=main, worker=max(peaks.values(), default=0.0), together=together)


def scale(root: Path, pictures: Pictures, count: int) -> dict[str, Any]:
    """Both stages over so many images, from nothing."""
    write_source(root / "raw", pictures, count)
    prepare, clean = (run(stage, root) for stage in STAGES)
    seconds = prepare.seconds + clean.seconds
    return {
        "images": count,
        "seconds": seconds,
        "images_a_second": round(count / seconds),
        "prepare": asdict(prepare),
        "clean": asdict(clean),
    }


def growth(root: Path, pictures: Pictures, count: int) -> list[dict[str, Any]]:
    """Both stages once more over data that they have done, with nothing new and with 1 % more."""
    raw = root / "raw"
    parts = sorted(raw.iterdir())
    share = -(-count // (100 * len(parts)))
    new = {
        "nothing": {},
        "1 % at the end": {raw / "part-99999.parquet": share * len(parts)},
        "1 % throughout": {path.with_name(f"{path.stem}-more.parquet"): share for path in parts},
    }
    rows = []
    for what, added in new.items():
        for number, (path, size) in enumerate(added.items()):
            write_part(path, pictures, [1, number], size)
        before = _kept_results(root)
        prepare, clean = (run(stage, root) for stage in STAGES)
        shards = len(read_manifest(Workspace.at(root).prepared).shards)
        rows.append(
            {
                "added": what,
                "images_added": sum(added.values()),
                "shards": shards,
                "shards_looked_at": len(_kept_results(root) - before),
                "prepare_seconds": prepare.seconds,
                "clean_seconds": clean.seconds,
            }
        )
        for path in added:
            path.unlink()
    return rows


def _kept_results(root: Path) -> set[str]:
    """Names in the caches: KEY.DIGEST folders."""
    return {path.name for path in Workspace.at(root).state.rglob("*.*") if path.is_dir() and path.name[0] != "."}


def _family(pid: int) -> list[int]:
    """A process and all its descendants."""
    found = [pid]
    for parent in found:
        try:
            for thread in Path(f"/proc/{parent}/task").iterdir():
                found.extend(map(int, (thread / "children").read_text().split()))
        except OSError:
            continue  # it ended meanwhile
    return found


def _memory(pid: int) -> tuple[float, float]:
    """Peak and present resident memory in MiB; 0 for one that has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0, 0.0
    fields = dict(line.split(":", 1) for line in lines)
    peak, now = (int(fields.get(name, "0 kB").split()[0]) / 1024 for name in ("VmHWM", "VmRSS"))
    return peak, now


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def report(result: dict[str, Any]) -> str:
    """Both tables."""
    lines = ["  images  stage     seconds  images/s   main MiB  worker MiB  together MiB"]
    for row in result["scale"]:
        for stage in STAGES:
            seconds, main, worker, together = row[stage].values()
            lines.append(
                f"{row['images']:8}  {stage:8} {seconds:8.1f} {row['images'] / seconds:9.0f} "
                f"{main:10.0f} {worker:11.0f} {together:13.0f}"
            )
        lines.append(f"{row['images']:8}  both     {row['seconds']:8.1f} {row['images_a_second']:9}")
    lines += [f"memory, last to first: {json.dumps(result['growth_of_memory'])}", ""]
    lines.append("added to the largest   images  shards  looked at  prepare s  clean s")
    for row in result["growth"]:
        lines.append(
            f"{row['added']:21} {row['images_added']:7} {row['shards']:7} {row['shards_looked_at']:10} "
            f"{row['prepare_seconds']:10.1f} {row['clean_seconds']:8.1f}"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the benchmark that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[20_000, 200_000])
    parser.add_argument("--fashion", type=Path, help="folder with Fashion-MNIST's gzipped IDX files")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--engine", choices=["local", "ray"], default="local")
    parser.add_argument("--out", type=Path, default=CHECKOUT / "benchmarks" / "results" / "data-scale-cpu.json")
    options = parser.parse_args()

    pictures = blends(options.fashion) if options.fashion else spots
    runtime = {"workers": options.workers, "engine": options.engine}
    result: dict[str, Any] = {
        "machine": {"cores": os.cpu_count(), "processor": _processor(), "python": platform.python_version()},
        "pictures": "blends of Fashion-MNIST" if options.fashion else "spots",
        **runtime,
        "scale": [],
    }
    for count in sorted(options.images):
        with tempfile.TemporaryDirectory() as folder:
            write_params(Path(folder), runtime)
            result["scale"].append(scale(Path(folder), pictures, count))
            if count == max(options.images):
                result["growth"] = growth(Path(folder), pictures, count)
    first, last = result["scale"][0], result["scale"][-1]
    result["growth_of_memory"] = {
        stage: {name: round(last[stage][name] / (first[stage][name] or 1), 2) for name in MEMORY} for stage in STAGES
    }
    sys.stdout.write(report(result))
    files.write_json(options.out, rounded(result))


if __name__ == "__main__":
    main()
