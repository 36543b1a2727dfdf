"""What decides the last bits is known of every stage, with torch or without."""

import hashlib
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from rediffuse import runtime
from rediffuse.params import load_params
from rediffuse.provenance import environment
from rediffuse.provenance.environment import differences, environment_tags, note

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _nothing_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_noted", {})


def test_a_stage_without_torch_knows_its_machine_its_packages_and_the_package_lock(tmp_path: Path):
    (tmp_path / "requirements.lock").write_text("numpy==2.4.6\n")
    found = environment.environment(tmp_path)
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["package_lock"] == hashlib.sha256(b"numpy==2.4.6\n").hexdigest()
    assert found["numpy"] == np.__version__
    assert found["scikit-learn"] == importlib.metadata.version("scikit-learn")
    assert {"machine", "cpu", "simd", "libc", *environment.PACKAGES} <= found.keys()
    assert not {"device", "threads"} & found.keys()
    assert all(isinstance(value, str) and value for value in found.values())


def test_a_checkout_without_a_lock_file_has_no_package_lock(tmp_path: Path):
    assert "package_lock" not in environment.environment(tmp_path)


def test_the_instruction_set_is_the_one_numpy_may_use():
    program = "import numpy; from rediffuse.provenance.environment import _simd; print(_simd())"
    found = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONPATH": str(CHECKOUT / "src")} | changes,
            capture_output=True, text=True, check=True,
        ).stdout.strip()
        for changes in ({}, {"NPY_DISABLE_CPU_FEATURES": " ".join(_optional_features())})
    ]  # fmt: skip
    assert found[0] == environment._simd()
    assert found[1] != found[0] or not _optional_features()


def _optional_features() -> list[str]:
    return list(np.show_config(mode="dicts")["SIMD Extensions"].get("found", ()))


def test_a_numpy_that_tells_of_no_instruction_sets_uses_none(monkeypatch: pytest.MonkeyPatch):
    # It leaves out sections that are empty.
    monkeypatch.setattr(np, "show_config", lambda mode: {})
    assert environment._simd() == "none"


def test_what_the_device_adds_is_noted_when_torch_starts(tmp_path: Path):
    params = load_params(CHECKOUT / "params.yaml").runtime
    device = runtime.start(params.model_copy(update={"device": "cpu", "threads": 1}))
    found = environment.environment(tmp_path)
    assert {"device": "cpu", "threads": "1"}.items() <= found.items()
    assert found["instructions"] == torch.backends.cpu.get_cpu_capability()
    assert runtime.environment(device).items() <= found.items()
    note({"processes": "4"})
    assert environment_tags(tmp_path, "train")["environment.train.processes"] == "4"


def test_a_training_is_resumed_under_the_same_libraries_machine_and_switches_alone(monkeypatch: pytest.MonkeyPatch):
    for name in runtime.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    known = {"torch", "numpy", "device", "threads", "instructions", "bf16", "cpu"}
    assert runtime.environment(torch.device("cpu")).keys() == known
    # oneDNN then multiplies in bfloat16.
    monkeypatch.setenv("DNNL_DEFAULT_FPMATH_MODE", "BF16")
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    set_here = {"DNNL_DEFAULT_FPMATH_MODE": "BF16", "CUBLAS_WORKSPACE_CONFIG": ":16:8"}
    assert set_here.items() <= runtime.environment(torch.device("cpu")).items()


def test_the_fields_that_differ_are_named_with_both_values():
    here, there = {"torch": "2.14.1", "numpy": "2.4.6", "cpu": "a"}, {"torch": "2.11.0", "numpy": "2.4.6", "gpu": "b"}
    assert differences(here, there) == [
        "cpu a here, unknown there",
        "gpu unknown here, b there",
        "torch 2.14.1 here, 2.11.0 there",
    ]
