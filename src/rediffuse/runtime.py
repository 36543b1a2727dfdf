"""Where a stage computes, and the switches that make torch repeat itself there."""

import os
import re
from pathlib import Path

from rediffuse import gpus
from rediffuse.acceleration import facts, native_bf16, profile
from rediffuse.errors import UserError
from rediffuse.params import RuntimeParams
from rediffuse.provenance.environment import cpu, note

# cuBLAS keeps its results only with a fixed workspace, and reads this when it starts.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
# The compiler keeps to choices that repeat themselves, and reads this when it is imported.
os.environ["TORCHINDUCTOR_DETERMINISTIC"] = "1"

import numpy as np
import torch

GIVEN_GPU = "REDIFFUSE_GPU"

# What torch and its libraries read to choose another kernel, another precision or another order of sums. (What ATen
# makes of ATEN_CPU_CAPABILITY is `instructions`, and `threads` are set whatever OMP_NUM_THREADS says.)
VARIABLES = (
    "CUBLASLT_WORKSPACE_SIZE",
    "CUBLAS_EMULATE_SINGLE_PRECISION",
    "CUBLAS_EMULATION_STRATEGY",
    "CUBLAS_WORKSPACE_CONFIG",
    "DNNL_DEFAULT_FPMATH_MODE",
    "DNNL_MAX_CPU_ISA",
    "MKL_CBWR",
    "MKL_DYNAMIC",
    "MKL_ENABLE_INSTRUCTIONS",
    "NCCL_ALGO",
    "NCCL_NVLS_ENABLE",
    "NCCL_PROTO",
    "NVIDIA_TF32_OVERRIDE",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_CORETYPE",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    "TORCH_BLAS_PREFER_CUBLASLT",
    "TORCH_CUDNN_SDPA_PREFERRED",
)


def device_type(runtime: RuntimeParams) -> str:
    """What `runtime.device` comes to on this machine: "cpu" or "cuda".

    Raises:
        UserError: CUDA is asked for and there is none; nothing falls back to the CPU in silence.
    """
    available = torch.cuda.is_available()
    if runtime.device == "cuda" and not available:
        raise UserError("params.yaml: runtime.device is cuda, but torch finds no CUDA device; use cpu or auto")
    return "cuda" if runtime.device != "cpu" and available else "cpu"


def take_gpus(count: int = 1) -> list[int]:
    """The indices of `count` of torch's CUDA devices that no other process of rediffuse uses; waits until there are.

    Args:
        count: 1 to torch.cuda.device_count().
    """
    return gpus.take(gpu_names(), count)


def start(runtime: RuntimeParams) -> torch.device:
    """Pin threads, switch to deterministic kernels and give the device that `runtime.device` names.

    With CUDA it is the first GPU that no other process of rediffuse uses, for as long as this process lives; where all
    are in use, it waits.

    Raises:
        UserError: CUDA is asked for and there is none, or a profile that needs what is not here.
    """
    kind = device_type(runtime)
    torch.set_num_threads(runtime.threads)
    # As torch.use_deterministic_algorithms(True), without the second that it takes to import a compiler.
    torch.set_deterministic_debug_mode("error")
    # New memory would be filled with NaN, which shows what reads it before it is written and decides nothing else.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    # float32 means float32; the network's own precision is a parameter.
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    if kind == "cpu":
        device = torch.device("cpu")
    else:
        # Process 0 takes the GPUs of the others that it starts, and says which is whose.
        given = os.environ.get(GIVEN_GPU)
        device = torch.device("cuda", take_gpus()[0] if given is None else int(given))
        torch.cuda.set_device(device)
    note(environment(device) | facts(profile(runtime, device)) | _of_cuda(device))
    return device


def enter(runtime: RuntimeParams, device: torch.device) -> None:
    """What of `start` each thread has to do for itself, before it computes what another thread has loaded.

    Args:
        device: that `start` gave.
    """
    torch.set_num_threads(runtime.threads)
    if device.type == "cuda":
        torch.cuda.set_device(device)


def environment(device: torch.device) -> dict[str, str]:
    """What beside data, parameters and code decides the last bits of a result on `device`.

    A training goes on from a state only where these are the same; `provenance.environment` knows more, to explain what
    differs after all.
    """
    facts = {
        "torch": torch.__version__,
        "numpy": np.__version__,
        "device": device.type,
        "threads": str(torch.get_num_threads()),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "bf16": "native" if native_bf16(device) else "none",
        **{name: os.environ[name] for name in VARIABLES if name in os.environ},
    }
    if device.type == "cpu":
        # Its libraries choose kernels by it. Beside a GPU it decides nothing, and a cluster may go on elsewhere.
        facts["cpu"] = cpu()
    if device.type == "cuda":
        facts |= {
            "gpu": torch.cuda.get_device_name(device),
            "cuda": str(torch.version.cuda),
            "cudnn": str(torch.backends.cudnn.version()),  # type: ignore[no-untyped-call]
        }
    return facts


def _of_cuda(device: torch.device) -> dict[str, str]:
    """What else is worth knowing of a GPU where two results differ."""
    if device.type != "cuda":
        return {}
    try:
        told = Path("/proc/driver/nvidia/version").read_text()
    except OSError:
        told = ""
    driver = re.search(r"Kernel Module.*?\s(\d+\.[\d.]+)", told)
    return {"driver": driver[1] if driver else "unknown"}


def gpu_names() -> list[str]:
    """What every process calls the GPUs that this one sees, whatever CUDA_VISIBLE_DEVICES hides or sorts otherwise."""
    count = torch.cuda.device_count()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    if len(visible) == count and all(name.startswith("MIG-") for name in visible):
        # The slices of one GPU, whose properties may give the GPU's own UUID.
        return [name.replace("/", "-") for name in visible]
    return [f"GPU-{torch.cuda.get_device_properties(place).uuid}" for place in range(count)]
