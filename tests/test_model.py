"""A model's file rebuilds it exactly, is the same bytes for the same model, and holds no code."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from rediffuse.errors import UserError
from rediffuse.model import Description, Model, build_model, describe, load_model, save_model, save_weights
from rediffuse.networks import Condition
from rediffuse.params import DiffusionParams, Params, load_params
from rediffuse.randomness import generator, seeded_global

CPU = torch.device("cpu")
CLASSES = ("a", "ü", "c/d")


def params() -> Params:
    return load_params(Path(__file__).parents[1] / "params.yaml")


def described(diffusion: DiffusionParams, shape: tuple[int, int, int] = (1, 8, 8)) -> Description:
    return describe(params().model, diffusion, shape=shape, classes=CLASSES, sigma_data=0.7)


def model(**diffusion: object) -> Model:
    ours = params()
    description = described(ours.diffusion.model_copy(update=diffusion))
    with seeded_global(0, "weights"):
        built = build_model(description, CPU)
    draw = generator(0, "awake")
    for parameter in built.denoiser.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.3, generator=draw)
    built.denoiser.eval()
    return built


@pytest.mark.parametrize("diffusion", [{}, {"process": "ddpm", "prediction": "v"}])
def test_a_saved_model_denoises_as_before(tmp_path: Path, diffusion: dict[str, object]):
    before = model(**diffusion)
    save_model(tmp_path / "m", before.description, before.denoiser)
    after = load_model(tmp_path / "m", CPU)
    assert (after.description, after.process, after.classes) == (before.description, before.process, CLASSES)
    x, t = torch.randn(2, 1, 8, 8, generator=generator(0, "x")), torch.tensor([1.0, 3.0])
    condition = Condition(labels=torch.tensor([0, 2]))
    assert torch.equal(after.denoiser(x, t, condition), before.denoiser(x, t, condition))


def test_the_file_is_the_same_bytes_each_time_and_has_one_metadata_key(tmp_path: Path):
    ours = model()
    save_model(tmp_path / "a", ours.description, ours.denoiser)
    loaded = load_model(tmp_path / "a", CPU)
    save_model(tmp_path / "b", dict(reversed(loaded.description.items())), loaded.denoiser)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with safe_open(tmp_path / "a", framework="pt") as file:
        assert list(file.metadata()) == ["rediffuse"]
        assert json.loads(file.metadata()["rediffuse"])["classes"] == list(CLASSES)


def test_the_description_holds_every_choice_with_its_own_settings_and_no_others():
    choices = {"process": "cosine", "noise_levels": "logitnormal", "weighting": "min_snr", "prediction": "v"}
    description = model(**choices).description
    assert description["process"] == {"name": "cosine", "settings": {"offset": 0.0, "steps": 0}}
    assert description["noise_levels"] == {
        "name": "logitnormal",
        "settings": {"mean": 0.0, "std": 1.0, "shift": 1.0},
    }
    assert description["weighting"] == {"name": "min_snr", "settings": {"gamma": 5.0}}
    assert (description["prediction"], description["spread"], description["preset"]) == ("v", "stratified", "edm")
    assert model(process="flow", weighting="plain").description["process"] == {"name": "flow", "settings": {}}


def test_choices_reach_the_loss_and_the_times():
    built = model(process="ddpm", weighting="min_snr", noise_levels="uniform", spread="antithetic")
    t = built.noise_levels(built.spread(8, generator(0, "u"), "cpu"))
    assert (t == t.round()).all()
    torch.testing.assert_close(t[4:] + t[:4], torch.full((4,), 1001.0), atol=1.0, rtol=0)
    assert float(built.loss.weight(torch.tensor([1.0]))) == 5.0
    assert built.uncertainty is None
    assert model(weighting="edm2").uncertainty is not None


@pytest.mark.parametrize("content", [None, b"", b"\x80\x04pickle", b"\xff" * 64])
def test_what_is_no_model_is_refused_and_never_executed(tmp_path: Path, content: bytes | None):
    path = tmp_path / "denoiser.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"denoiser\.safetensors is"):
        load_model(path, CPU)


def test_weights_of_another_network_than_described_are_refused(tmp_path: Path):
    path, built = tmp_path / "denoiser.safetensors", model()
    weights = {name: each.contiguous() for name, each in built.denoiser.network.state_dict().items()}
    weights["stem.weight"] = weights["stem.weight"][:1].clone()
    save_weights(path, built.description, weights)
    with pytest.raises(UserError, match=r"denoiser\.safetensors holds other weights .* stem\.weight"):
        load_model(path, CPU)


def test_a_size_the_network_cannot_take_names_both_keys():
    with pytest.raises(
        UserError, match=r"model\.unet\.patch and the 1 levels of .* clean\.size must be a multiple of 2"
    ):
        build_model(described(params().diffusion, shape=(1, 27, 27)), CPU)
