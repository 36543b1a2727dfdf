"""Facts of a report: digests that tell results apart, costs that are counted, an environment that machines share."""

import hashlib

import pytest
import torch

from rediffuse.evaluation.report.cost import forward_flops
from rediffuse.evaluation.report.facts import environment_facts, identity, protocol_facts, scaled
from rediffuse.model import build_model, describe
from rediffuse.networks.attention import SelfAttention
from rediffuse.workspace import Workspace
from tests.data.planted import params_with
from tests.evaluation.report.constructed import metrics


def test_the_code_digest_follows_what_the_stage_depends_on(tmp_path) -> None:
    workspace = Workspace.at(tmp_path)
    workspace.denoiser.parent.mkdir()
    workspace.denoiser.write_bytes(b"weights")
    assert identity(workspace).code == {}
    (tmp_path / "stages").mkdir()
    for stage in ("train", "evaluate"):
        (tmp_path / "stages" / f"{stage}.py").write_text("one")
    pipeline = (
        "stages:\n  train:\n    deps:\n      - src/rediffuse/model.py\n"
        "  split:\n    deps:\n      - src/rediffuse/model.py\n"
        "  evaluate:\n    deps:\n      - stages/evaluate.py\n      - src/rediffuse/{}\n"
    )
    workspace.pipeline.write_text(pipeline.format("seeds.py"))
    first = identity(workspace)
    assert first.model_sha256 == hashlib.sha256(b"weights").hexdigest()
    assert first.model_md5 == hashlib.md5(b"weights").hexdigest()
    assert list(first.code) == ["train", "evaluate"]
    assert [len(digest) for digest in first.code.values()] == [64, 64]
    of_train = first.code["train"]
    assert identity(workspace) == first
    (tmp_path / "stages" / "evaluate.py").write_text("two")
    assert identity(workspace).code != first.code
    (tmp_path / "stages" / "evaluate.py").write_text("one")
    workspace.pipeline.write_text(pipeline.format("frechet.py"))
    assert identity(workspace).code["evaluate"] != first.code["evaluate"]
    assert identity(workspace).code["train"] == of_train


def test_what_machines_with_equal_numbers_do_not_share_is_not_on_the_page() -> None:
    here = {
        "python": "3.11.9", "torch": "2.14.1+cu130", "numpy": "2.3.1", "torchvision": "none", "cpu": "one",
        "simd": "AVX2", "libc": "glibc-2.36", "system": "Linux", "machine": "x86_64", "device": "cpu", "threads": "2",
        "package_lock": "ab",
    }  # fmt: skip
    there = here | {
        "python": "3.11.2", "torch": "2.14.1+cpu", "cpu": "two", "simd": "AVX512", "libc": "glibc-2.41", "threads": "2",
        "driver": "570",
    }  # fmt: skip
    assert environment_facts(here) == environment_facts(there)
    assert environment_facts(here) == {
        "python": "3.11", "numpy": "2.3.1", "torch": "2.14.1", "system": "Linux x86_64", "device": "cpu",
    }  # fmt: skip
    assert environment_facts(here | {"device": "cuda"}) != environment_facts(here)


def test_flops_are_twice_the_multiplications_of_layers_and_attention_by_no_fused_kernel() -> None:
    params = params_with()
    description = describe(params.model, params.diffusion, shape=(1, 8, 8), classes=("a", "b"), sigma_data=0.5)
    model = build_model(description, torch.device("cpu"))
    expected, fused = 0, []

    def count(layer: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal expected
        if isinstance(layer, torch.nn.Conv2d):
            expected += 2 * output.numel() * layer.weight[0].numel()
        elif isinstance(layer, torch.nn.Linear):
            expected += 2 * output.numel() * layer.in_features
        elif isinstance(layer, SelfAttention):
            # Queries by keys, and weights by values.
            expected += 2 * 2 * output[0, 0].numel() ** 2 * output.shape[1]
            # The counter takes the one of the CPU for nothing.
            fused.append(torch.backends.cuda.flash_sdp_enabled())

    for layer in model.denoiser.modules():
        layer.register_forward_hook(count)
    assert forward_flops(model, torch.device("cpu")) == expected
    assert fused
    assert not any(fused)


@pytest.mark.parametrize(
    ("value", "text"), [(31_400_000, "31.4 M"), (999, "999 "), (1.5e9, "1.5 G"), (2.25e13, "22.5 T")]
)
def test_large_numbers_have_a_prefix(value: float, text: str) -> None:
    assert scaled(value) == text


def test_the_protocol_stands_by_block_and_what_belongs_to_none_apart() -> None:
    facts = protocol_facts(metrics(("a", "b"))["protocol"])
    assert list(facts) == ["fidelity", "pca", "utility", "likelihood", "memorisation"]
    assert facts["fidelity"]["digest"] == "5da787c9bb"
    assert facts["likelihood"]["how"].startswith("probability-flow ODE")
    assert protocol_facts({"images": 180, "utility": "none: no classes"}) == {
        "all": {"images": "180"},
        "utility": {"method": "none: no classes"},
    }
