"""What beside data, parameters and code decides the last bits of a result: the machine, and what is installed on it.

Half of it is known without torch. `runtime.start` notes the other half, the device it chose, and a stage whatever
else decides its sums; so a record of a stage holds what that stage used.
"""

import hashlib
import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# The packages whose arithmetic, order or encoding reaches an out.
PACKAGES = (
    "matplotlib",
    "numpy",
    "pandas",
    "pillow",
    "pyarrow",
    "safetensors",
    "scikit-learn",
    "scipy",
    "torch",
    "torchvision",
)
_SHOWN = 40  # characters of a value; a digest's beginning tells enough

_noted: dict[str, str] = {}


def note(facts: Mapping[str, str]) -> None:
    """Add what this process found out ("device": "cuda", ...) to its environment; a later value replaces an earlier."""
    _noted.update(facts)


def environment(root: Path) -> dict[str, str]:
    """The environment of this process: field -> value, with the fields that `note` was told of.

    Args:
        root: the checkout; its requirements.lock, where there is one, is the field `package_lock`, a SHA-256.
    """
    lock = root / "requirements.lock"
    packages = {"package_lock": hashlib.sha256(lock.read_bytes()).hexdigest()} if lock.is_file() else {}
    return {**_machine(), **_packages(), **packages, **_noted}


def environment_tags(root: Path, stage: str) -> dict[str, str]:
    """The environment as tags of an MLflow run, `environment.<stage>.<field>`; ask when the stage has computed.

    A run is of all its stages, which may have run on several machines.
    """
    return {f"{tag_prefix(stage)}{field}": value for field, value in environment(root).items()}


def tag_prefix(stage: str) -> str:
    """What the tags of a stage's environment begin with."""
    return f"environment.{stage}."


def differences(here: Mapping[str, str], there: Mapping[str, str]) -> list[str]:
    """The fields that differ, each as "torch 2.14.1 here, 2.11.0 there"."""
    return [
        f"{field} {here.get(field, 'unknown')[:_SHOWN]} here, {there.get(field, 'unknown')[:_SHOWN]} there"
        for field in sorted(here.keys() | there.keys())
        if here.get(field) != there.get(field)
    ]


@cache
def _machine() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "cpu": cpu(),
        "simd": _simd(),
        "libc": "-".join(platform.libc_ver()),
    }


@cache
def cpu() -> str:
    """The processor's model name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or "unknown"


def _simd() -> str:
    """The widest instruction set that numpy uses here, as numpy names it; "none" where it was built without any."""
    import numpy as np

    found = np.show_config(mode="dicts").get("SIMD Extensions", {})
    return str(next(iter(reversed([*found.get("baseline", ()), *found.get("found", ())])), "none"))


@cache
def _packages() -> dict[str, str]:
    return {name: _version(name) for name in PACKAGES}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
