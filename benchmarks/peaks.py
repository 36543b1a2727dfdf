"""What this device can do at most, measured here and now: matrix products and copies.

A share of such a peak says how far a program is from what the same machine does in the best case, whatever its data
sheet promises.
"""

import statistics
import time
from collections.abc import Callable

import torch

TYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
SIDES = {"cuda": (4096, 8192, 16384), "cpu": (1024, 2048)}
COPIED = {"cuda": 4 << 30, "cpu": 256 << 20}


def seconds_of(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    """The median of so many runs after one that isn't counted; on CUDA by events, without the launch."""
    work()
    found = []
    for _ in range(repeats):
        if device.type == "cuda":
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
            start.record()
            work()
            end.record()
            end.synchronize()
            found.append(start.elapsed_time(end) / 1e3)
        else:
            begun = time.perf_counter()
            work()
            found.append(time.perf_counter() - begun)
    return float(statistics.median(found))


def matmul_flops(kind: str, device: torch.device, sides: tuple[int, ...] | None = None, repeats: int = 5) -> float:
    """Floating-point operations a second of the best square product among some sizes.

    Args:
        kind: "bf16" or "fp32"; fp32 is true fp32, without TF32.
        sides: of the squares; None: large ones.
    """
    best = 0.0
    for side in sides or SIDES[device.type]:
        # Numbers of the usual spread: of zeros a GPU draws less power and clocks higher.
        x, y = (torch.randn(side, side, device=device).to(TYPES[kind]) for _ in range(2))
        out = torch.empty_like(x)

        def product(x: torch.Tensor = x, y: torch.Tensor = y, out: torch.Tensor = out) -> None:
            torch.mm(x, y, out=out)

        # Enough in one run that the clock's own grain is nothing.
        once = seconds_of(product, device, 1)
        many = max(1, round(0.02 / once))

        def run(many: int = many, product: Callable[[], None] = product) -> None:
            for _ in range(many):
                product()

        best = max(best, many * 2 * side**3 / seconds_of(run, device, repeats))
    return best


def copied_bytes(device: torch.device, size: int | None = None, repeats: int = 5) -> float:
    """Bytes a second of a large copy, each byte counted once read and once written."""
    source = torch.empty((size or COPIED[device.type]) // 4, dtype=torch.float32, device=device).normal_()
    target = torch.empty_like(source)
    seconds = seconds_of(lambda: target.copy_(source), device, repeats)
    return 2 * 4 * source.numel() / seconds


def peaks(device: torch.device, *, quick: bool = False) -> dict[str, float]:
    """TFLOP/s of bf16 and fp32 products and GB/s of a copy."""
    sides = (256,) if quick else None
    size = (8 << 20) if quick else None
    repeats = 2 if quick else 5
    with torch.no_grad():
        found = {f"{kind}_tflops": matmul_flops(kind, device, sides, repeats) / 1e12 for kind in TYPES}
        found["copy_gb_per_s"] = copied_bytes(device, size, repeats) / 1e9
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return found
