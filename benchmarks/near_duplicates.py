"""How many planted near duplicates are found, how many finds are wrong, and what the search costs as data grows.

    python -m benchmarks.near_duplicates --out benchmarks/results/near-duplicates-cpu.json

Recall is the share of the copies that end in their original's group. Precision is the share of the pairs within groups
whose two images are of one original; at 28 pixels it counts as errors the near duplicates that Fashion-MNIST has
of its own. At 224 pixels the originals are tiles of photographs and drawings, 200 of them cards of one template.
"""

import argparse
import platform
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.planted_duplicates import KINDS, drawn, fashion, photographs, views_of
from rediffuse import files, yaml12
from rediffuse.data.duplicates import components, keys, near_duplicates
from rediffuse.data.duplicates.keys import KEYS
from rediffuse.data.duplicates.sampling import seen_through
from rediffuse.tables import rounded

CONTRAST = 5.0
"""Least standard deviation, in grey levels, of an image that copies are made of."""


def planted(originals: list[Image.Image], copies: int, seed: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Views of images and of changed copies of some of them, each copy's original, and its kind."""
    random = np.random.default_rng(seed)
    # A copy of what is next to blank shows nothing that could be told from other blank ones.
    contrast = np.array([np.asarray(image.convert("L")).std() for image in originals])
    sources = random.permutation(np.flatnonzero(contrast >= CONTRAST))[:copies]
    kinds = [list(KINDS)[number % len(KINDS)] for number in range(copies)]
    changed = [KINDS[kind](originals[source], random) for kind, source in zip(kinds, sources, strict=True)]
    return views_of([*originals, *changed]), sources, kinds


def score(views: np.ndarray, sources: np.ndarray, kinds: list[str], settings: dict[str, Any]) -> dict[str, Any]:
    """Recall of each kind, and precision, of one search."""
    start = time.perf_counter()
    found = near_duplicates(keys(views), lambda rows: views[rows], **settings)
    seconds = time.perf_counter() - start
    group = components(len(views), found.first, found.second)
    count = len(views) - len(sources)
    together = group[count:] == group[sources]
    original = np.concatenate([np.arange(count), sources])
    same = within(group)
    right = within(original * len(views) + group)
    named = np.array(kinds)
    return {
        "images": len(views),
        "recall": {kind: float(together[named == kind].mean()) for kind in KINDS},
        "recall_all_but_rotated": float(together[~np.char.startswith(named, "rotated")].mean()),
        "precision": right / same,
        "pairs": same,
        "wrong_pairs": same - right,
        "group_sizes": sizes(group),
        "microseconds_an_image": 1e6 * seconds / len(views),
    }


def within(group: np.ndarray) -> int:
    """How many pairs have both members in one group."""
    _, counts = np.unique(group, return_counts=True)
    return int((counts * (counts - 1) // 2).sum())


def sizes(group: np.ndarray) -> dict[str, int]:
    """How many groups have how many members, from two."""
    counted = Counter(np.bincount(group, minlength=len(group)).tolist())
    return {str(size): counted[size] for size in sorted(counted) if size > 1}


def crowd(count: int, path: Path, real: np.ndarray, seed: int) -> None:
    """Write so many views that crowd as Fashion-MNIST's do: its own, moved, scaled and mixed with others like them."""
    random = np.random.default_rng(seed)
    grey = real[:, :1024].reshape(-1, 32, 32)
    # Neighbours in this order are alike, so that mixtures are garments too.
    order = np.lexsort((grey[:, 8:24, 8:24].mean(axis=(1, 2)), grey.mean(axis=(1, 2)) // 16))
    out = np.lib.format.open_memmap(path, "w+", np.uint8, (count, real.shape[1]))
    for start in range(0, count, 2000):
        here = min(2000, count - start)
        place = random.integers(0, len(order) - 5, here)
        one, two = grey[order[place]], grey[order[place + random.integers(1, 6, here)]]
        share = random.uniform(0, 0.4, (here, 1, 1))
        mixed = ((1 - share) * one + share * two).astype(np.float32)
        frames = np.concatenate([random.uniform(0.8, 1.25, (here, 1)), random.uniform(-0.1, 0.1, (here, 2))], axis=1)
        levels = np.clip(np.rint(seen_through(mixed, frames)[0]), 0, 255).astype(np.uint8)
        out[start : start + here, :1024] = levels.reshape(here, -1)
        cells = levels.reshape(here, 4, 8, 4, 8).mean(axis=(2, 4)).astype(np.uint8)
        out[start : start + here, 1024:] = np.repeat(cells.reshape(here, -1), 3, axis=1)
    out.flush()


def cost(count: int, path: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Seconds and memory of a search among the first so many views of a file."""

    def read(rows: np.ndarray) -> np.ndarray:
        # Mapped anew each time, so that pages of the file don't count as the search's memory.
        return np.asarray(np.load(path, mmap_mode="r")[rows])

    every = np.empty((count, KEYS), np.uint64)
    for start in range(0, count, 10_000):
        end = min(start + 10_000, count)
        every[start:end] = keys(read(np.arange(start, end)))
    before = peak_mb()
    wall, cpu = time.perf_counter(), time.process_time()
    found = near_duplicates(every, read, **settings)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {
        "images": count,
        "pairs": len(found.first),
        "microseconds_an_image": 1e6 * wall / count,
        "cpu_microseconds_an_image": 1e6 * cpu / count,
        "peak_mb": peak_mb(),
        "peak_mb_before": before,
    }


def peak_mb() -> float:
    """The greatest memory that this process has held."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def main() -> None:
    """Run the benchmark that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=[50_000, 500_000])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    check = yaml12.load(Path("params.yaml"))["clean"]["checks"]["near_duplicate"]
    settings = {name: check[name] for name in ("similarity", "flips")}
    garments = fashion()
    small, sources, kinds = planted([Image.fromarray(garment) for garment in garments], 4_500, seed=0)
    real = small[: len(garments)].copy()
    results: dict[str, Any] = {"environment": {"python": platform.python_version(), "numpy": np.__version__}}
    results |= {"settings": settings, "cost": []}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "views.npy"
        crowd(max(options.sizes, default=0), path, real, seed=0)
        for count in options.sizes:
            # In a process of its own, whose greatest memory is that of the search.
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                results["cost"].append(pool.submit(cost, count, path, settings).result())
    results["28 px"] = score(small, sources, kinds, settings)
    plain = near_duplicates(keys(real), lambda rows: real[rows], **settings)
    results["Fashion-MNIST as it is"] = {
        "images": len(real),
        "pairs": len(plain.first),
        "group_sizes": sizes(components(len(real), plain.first, plain.second)),
    }
    random = np.random.default_rng(1)
    large = [*photographs(), *drawn(random, 1_000, garments)]
    results["224 px"] = score(*planted(large, 900, seed=1), settings)

    sys.stdout.write(f"similarity {settings['similarity']}, flips {settings['flips']}\n\n")
    sys.stdout.write(f"{'recall':20}{'28 px':>8}{'224 px':>8}\n")
    for kind in KINDS:
        rows = [results[name]["recall"][kind] for name in ("28 px", "224 px")]
        sys.stdout.write(f"{kind:20}{rows[0]:8.3f}{rows[1]:8.3f}\n")
    for name in ("28 px", "224 px"):
        row = results[name]
        sys.stdout.write(
            f"{name}: {row['images']} images, {row['pairs']} pairs, precision {row['precision']:.3f}, "
            f"{row['microseconds_an_image']:.0f} µs an image\n"
        )
    sys.stdout.write(f"Fashion-MNIST as it is: {results['Fashion-MNIST as it is']}\n")
    for row in results["cost"]:
        sys.stdout.write(
            f"{row['images']} images: {row['cpu_microseconds_an_image']:.0f} µs an image "
            f"({row['microseconds_an_image']:.0f} by the clock), {row['pairs']} pairs, peak {row['peak_mb']:.0f} MB "
            f"({row['peak_mb_before']:.0f} before)\n"
        )
    if options.out:
        files.write_json(options.out, rounded(results))


if __name__ == "__main__":
    main()
