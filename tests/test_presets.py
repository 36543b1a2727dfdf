"""A null key of params.yaml takes the value of the preset or of the size, a given one stays."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from rediffuse.model import build_model, describe
from rediffuse.networks import Condition, build_network
from rediffuse.networks.attention import SelfAttention
from rediffuse.params import Params, flatten, load_params
from rediffuse.presets import PLAIN_SAMPLING, PRESETS, PUBLISHED, SIZES, expand
from rediffuse.sampling import Sampling

REPOSITORY = Path(__file__).parents[1]

# Given by default, for few evaluations of the network whatever the preset: the papers' own take up to 1000.
FEW_EVALUATIONS = ("sample.sampler", "sample.grid", "sample.steps")

# What each size is for: channels, height and width.
SHAPES = {"tiny": (1, 8, 8), "small": (1, 28, 28), "base": (3, 32, 32)}


def load(tmp_path: Path, preset: str, **changes: Any) -> Params:
    """params.yaml with another preset, its own sampler and `section__key=value`, likewise inside a key's section."""
    document = yaml.safe_load((REPOSITORY / "params.yaml").read_text().replace("1.0e-4", "0.0001"))
    document["diffusion"]["preset"] = preset
    own = dict.fromkeys((name.replace(".", "__") for name in FEW_EVALUATIONS), None)
    for name, value in (own | changes).items():
        *sections, key = name.split("__")
        place = document
        for section in sections:
            place = place[section]
        place[key] = value
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(document))
    return load_params(path)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_null_takes_the_value_of_the_preset(tmp_path: Path, preset: str):
    values = flatten(load(tmp_path, preset).tracked())
    assert {name: values[name] for name in PUBLISHED | PRESETS[preset]} == PUBLISHED | PRESETS[preset]


def test_every_key_that_a_preset_or_a_size_decides_is_null_by_default_but_those_that_make_sampling_short():
    raw = flatten(yaml.safe_load((REPOSITORY / "params.yaml").read_text()))
    decided = set(PUBLISHED).union(*PRESETS.values(), *SIZES.values())
    assert {name for name in decided if raw[name] is not None} == set(FEW_EVALUATIONS)


@pytest.mark.parametrize("size", SIZES)
def test_every_null_takes_the_value_of_the_size_and_a_given_key_stays(tmp_path: Path, size: str):
    raw = flatten(yaml.safe_load((REPOSITORY / "params.yaml").read_text()))
    assert {name for name, value in raw.items() if name.startswith("model.") and value is None} == set(SIZES[size])

    def values(**changes: Any) -> dict[str, Any]:
        unet = load(tmp_path, "edm", model__size=size, **changes).model.unet.model_dump(mode="json")
        return flatten({"model": {"unet": unet}})

    own = SIZES[size] | {"model.unet.dropout": raw["model.unet.dropout"]}
    assert values() == own
    changed = own | {"model.unet.blocks": 3, "model.unet.attention_sizes": []}
    assert values(model__unet__blocks=3, model__unet__attention_sizes=[]) == changed


@pytest.mark.parametrize("size", SIZES)
def test_each_size_builds_for_its_images_and_attends_to_them(tmp_path: Path, size: str):
    settings = load(tmp_path, "edm", model__size=size).model.unet.model_dump()
    with torch.device("meta"):
        network = build_network("unet", SHAPES[size], 10, settings)
        images, labels = torch.zeros(2, *SHAPES[size]), torch.zeros(2, dtype=torch.int64)
        assert network(images, torch.zeros(2), Condition(labels=labels)).shape == images.shape
    assert any(isinstance(module, SelfAttention) for module in network.modules())


def test_the_sizes_grow_and_base_has_as_many_parameters_as_the_papers_network(tmp_path: Path):
    """Ho et al. (2020), appendix B: 35.7 million on CIFAR-10."""
    counts = {}
    for size, shape in SHAPES.items():
        with torch.device("meta"):
            network = build_network("unet", shape, 10, load(tmp_path, "edm", model__size=size).model.unet.model_dump())
        counts[size] = sum(parameter.numel() for parameter in network.parameters())
    assert list(counts) == list(SIZES) == sorted(counts, key=lambda size: counts[size])
    assert 30e6 <= counts["base"] <= 42e6


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_decides_the_choices_that_make_a_family(preset: str):
    choices = {f"diffusion.{key}" for key in ("process", "prediction", "weighting", "noise_levels")}
    assert choices | {"sample.sampler", "sample.grid", "sample.steps"} <= set(PRESETS[preset])


def test_a_given_key_stays(tmp_path: Path):
    params = load(tmp_path, "edm", diffusion__prediction="v", sample__steps=7)
    assert (params.diffusion.prediction, params.sample.steps) == ("v", 7)
    assert (params.diffusion.process, params.sample.sampler) == ("edm", "heun")


def test_what_belongs_to_the_presets_sampler_does_not_follow_another_one(tmp_path: Path):
    own, other = load(tmp_path, "vp_sde"), load(tmp_path, "vp_sde", sample__sampler="dpmpp_2m")
    assert own.sample.eta == 1.0
    assert (other.sample.eta, other.sample.grid) == (PLAIN_SAMPLING["sample.eta"], "uniform")
    assert load(tmp_path, "ddpm", sample__sampler="ddim").sample.variance == "posterior"
    assert load(tmp_path, "ve_sde", sample__sampler="heun").sample.corrector_steps == 0


def test_presets_differ_where_their_papers_do():
    expanded = [tuple(sorted((PUBLISHED | preset).items())) for preset in PRESETS.values()]
    assert len(set(expanded)) == len(PRESETS) == 10


def test_what_is_no_mapping_or_names_no_preset_and_no_size_is_left_to_the_validation():
    for document in (
        {"diffusion": 3, "sample": None, "model": "unet"},
        {"model": {"size": "huge", "unet": {"width": None}}},
        {"model": {"size": None, "unet": {"width": None}}},
    ):
        assert expand(document) == document
    assert expand({"diffusion": {"preset": "nothing", "process": None}}) == {
        "diffusion": {"preset": "nothing", "process": None}
    }


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_makes_a_model_that_can_be_sampled_and_says_what_it_is(tmp_path: Path, preset: str):
    params = load(tmp_path, preset)
    cpu = torch.device("cpu")
    description = describe(params.model, params.diffusion, shape=(1, 4, 4), classes=("a", "b"), sigma_data=0.5)
    assert description["preset"] == preset
    assert description["weighting"]["name"] == PRESETS[preset]["diffusion.weighting"]
    model = build_model(description, cpu)
    assert (model.uncertainty is not None) == (preset == "edm2")
    sampling = Sampling.of(model, params.sample.model_copy(update={"steps": 3, "batch_size": 4}), cpu)
    (images,) = sampling.images(torch.tensor([0, 1, 0]).numpy())
    assert images.shape == (3, 1, 4, 4)
