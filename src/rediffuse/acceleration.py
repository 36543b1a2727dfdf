"""How a network is run: layout of its memory, compiled or not, precision. Each gives other last bits, no other result.

`runtime.profile: auto` is `plain` on every device. On a CPU that was measured (docs/performance.md): channels-last
gains nothing on the default networks, and a compiler 5 to 20 %, for which it takes 20 to 40 seconds at each start. On
CUDA the compiled profiles are there to be chosen; `benchmarks.gpu` times them, `benchmarks.repeat` proves their bytes.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec

import torch
from torch import nn

from rediffuse.errors import UserError
from rediffuse.params import RuntimeParams

_COMPILERS_OWN = ("TORCHINDUCTOR_", "TRITON_")


@dataclass(frozen=True)
class Profile:
    """One way to run a network.

    Args:
        name: its name.
        channels_last: the channels of a pixel lie beside each other.
        mode: of torch.compile; None: not compiled.
    """

    name: str
    channels_last: bool = False
    mode: str | None = None


PROFILES = {
    profile.name: profile
    for profile in (
        Profile("plain"),
        Profile("channels_last", channels_last=True),
        Profile("compiled", channels_last=True, mode="default"),
        Profile("graphs", channels_last=True, mode="reduce-overhead"),
    )
}


def profile(runtime: RuntimeParams, device: torch.device) -> Profile:
    """The one that `runtime.profile` names on this device.

    Raises:
        UserError: it needs a compiler that is not here, or a GPU.
    """
    chosen = PROFILES["plain" if runtime.profile == "auto" else runtime.profile]
    if chosen.mode is None:
        return chosen
    if chosen.name == "graphs" and device.type != "cuda":
        raise UserError("params.yaml: runtime.profile is graphs, which needs CUDA; use compiled, or plain")
    missing = None
    if not _compiler():
        missing = "a C++ compiler"
    elif device.type == "cuda" and find_spec("triton") is None:
        missing = "the package triton"
    if missing:
        raise UserError(f"params.yaml: runtime.profile is {chosen.name}, which needs {missing}; use plain")
    return chosen


def facts(profile: Profile) -> dict[str, str]:
    """What decides the bytes of a network that runs by this profile, beside its device: the name, and its compilers."""
    if profile.mode is None:
        return {"profile": profile.name}
    told = subprocess.run([_compiler(), "--version"], capture_output=True, text=True, check=False).stdout
    variables = {name: os.environ[name] for name in sorted(os.environ) if name.startswith(_COMPILERS_OWN)}
    triton = {"triton": version("triton")} if find_spec("triton") else {}
    return {"profile": profile.name, "compiler": told.partition("\n")[0], **triton, **variables}


def accelerate(network: nn.Module, profile: Profile) -> None:
    """Make a network run by this profile, in place; copies of it keep the layout, and are not compiled."""
    if profile.channels_last:
        network.to(memory_format=torch.channels_last)
    if profile.mode is not None:
        # Else the compiler times some of its kernels, and takes the quickest of that moment.
        import_module("torch._inductor.config").deterministic = True  # type: ignore[attr-defined]
        # Batches have few sizes: one program for each, of the whole network.
        network.compile(fullgraph=True, dynamic=False, mode=profile.mode)


def _compiler() -> str:
    """The C++ compiler that torch would take; empty where there is none."""
    return next(filter(None, map(shutil.which, (os.environ.get("CXX") or "g++", "g++", "clang++", "c++"))), "")


@contextmanager
def uncompiled() -> Iterator[None]:
    """Run compiled networks as they are written: for few evaluations of sizes that training never sees."""
    with torch.compiler.set_stance("force_eager"):
        yield


def native_bf16(device: torch.device) -> bool:
    """Whether bfloat16 is quicker than float32 there: by tensor cores, or by a CPU's own instructions for it."""
    if device.type == "cuda":
        return True
    # Since torch 2.10; before that a CPU keeps to float32.
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(device.type == "cpu" and (capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")))
