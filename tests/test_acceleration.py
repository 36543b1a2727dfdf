import copy
import shutil

import pytest
import torch
from torch import Tensor, nn

from rediffuse import acceleration
from rediffuse.acceleration import PROFILES, accelerate, facts, native_bf16, profile, uncompiled
from rediffuse.errors import UserError
from rediffuse.networks import Condition, Unet
from tests.data.planted import params_with

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def runtime_params(name: str) -> acceleration.RuntimeParams:
    return params_with(runtime__profile=name).runtime


def test_auto_is_the_profile_whose_bytes_are_proven() -> None:
    assert profile(runtime_params("auto"), CPU) == profile(runtime_params("auto"), CUDA) == PROFILES["plain"]


def test_graphs_are_for_cuda() -> None:
    with pytest.raises(UserError, match=r"runtime\.profile is graphs, which needs CUDA; use compiled, or plain"):
        profile(runtime_params("graphs"), CPU)


def test_without_a_compiler_nothing_runs_plainly_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceleration.shutil, "which", lambda _: None)
    with pytest.raises(UserError, match=r"runtime\.profile is compiled, which needs a C\+\+ compiler; use plain"):
        profile(runtime_params("compiled"), CPU)


def test_what_decides_the_bytes_of_a_compiled_network_is_told_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert facts(PROFILES["plain"]) == {"profile": "plain"}
    monkeypatch.setenv("CXX", shutil.which("sh") or "")
    monkeypatch.setenv("TORCHINDUCTOR_FREEZING", "1")
    told = facts(PROFILES["compiled"])
    assert told.keys() >= {"profile", "compiler", "TORCHINDUCTOR_FREEZING"}


def test_a_cpu_computes_in_bf16_only_by_its_own_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": False, "amx_bf16": False}, raising=False)
    assert not native_bf16(CPU)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    assert native_bf16(CPU)


def test_another_layout_is_another_order_of_sums_and_stays_in_copies() -> None:
    plain = _network()
    last = copy.deepcopy(plain)
    accelerate(last, PROFILES["channels_last"])
    torch.testing.assert_close(_forward(last), _forward(plain), rtol=1e-4, atol=1e-5)
    kept = copy.deepcopy(last).stem.weight
    assert kept.is_contiguous(memory_format=torch.channels_last)
    assert last.state_dict().keys() == plain.state_dict().keys()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_a_compiled_network_is_the_same_function_repeats_its_bytes_and_can_be_left_out() -> None:
    plain = _network()
    compiled, again = copy.deepcopy(plain), copy.deepcopy(plain)
    for network in (compiled, again):
        accelerate(network, PROFILES["compiled"])
    outputs = [_forward(network) for network in (plain, compiled, again)]
    gradients = [_gradient(network) for network in (plain, compiled, again)]
    for plainly, once, twice in (outputs, gradients):
        torch.testing.assert_close(once, plainly, rtol=1e-3, atol=1e-5)
        assert torch.equal(once, twice)
    last = copy.deepcopy(plain)
    accelerate(last, PROFILES["channels_last"])
    with uncompiled():
        assert torch.equal(_forward(compiled), _forward(last))


def _network() -> Unet:
    network = Unet((1, 8, 8), 3, width=16, multipliers=(1,), blocks=1, head_channels=16, patch=2)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw) / 8)
    return network


def _forward(network: nn.Module) -> Tensor:
    x = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    out: Tensor = network(x, torch.linspace(-1, 1, 4), Condition(labels=torch.tensor([0, 1, 2, -1])))
    return out


def _gradient(network: nn.Module) -> Tensor:
    network.zero_grad()
    _forward(network).square().sum().backward()  # type: ignore[no-untyped-call]
    return torch.cat([parameter.grad.flatten() for parameter in network.parameters() if parameter.grad is not None])
