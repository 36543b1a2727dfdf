"""The greatest memory of a piece of work: on CUDA what torch allocated, on the CPU the resident set of a process."""

import gc
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

import torch

from benchmarks.entry import peak_mib as peak_mib

Found = TypeVar("Found")


def in_process(work: Callable[..., Found], *arguments: Any) -> Found:
    """What `work` returns in a new process, which ends then; all of it must be picklable.

    Raises:
        Exception: what `work` raises, or that the process was killed.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        return pool.submit(work, *arguments).result()


def cleared(device: torch.device) -> float:
    """Forget what nobody holds, begin a new peak, and give the MiB that are held; 0 on the CPU."""
    gc.collect()
    if device.type != "cuda":
        return 0.0
    torch.cuda.synchronize(device)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.memory_allocated(device) / 2**20


def allocated_peak(device: torch.device, before: float) -> float | None:
    """MiB that CUDA held at most since `cleared`, above those before; None on the CPU."""
    return torch.cuda.max_memory_allocated(device) / 2**20 - before if device.type == "cuda" else None
