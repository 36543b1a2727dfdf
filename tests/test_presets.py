"""A null key of params.yaml takes the preset's value, a given one stays."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from rediffuse.model import build_model, describe
from rediffuse.params import Params, flatten, load_params
from rediffuse.presets import PLAIN_SAMPLING, PRESETS, PUBLISHED, expand
from rediffuse.sampling import Sampling

REPOSITORY = Path(__file__).parents[1]


def load(tmp_path: Path, preset: str, **changes: Any) -> Params:
    document = yaml.safe_load((REPOSITORY / "params.yaml").read_text().replace("1.0e-4", "0.0001"))
    document["diffusion"]["preset"] = preset
    for name, value in changes.items():
        section, key = name.split("__")
        document[section][key] = value
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(document))
    return load_params(path)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_null_takes_the_value_of_the_preset(tmp_path: Path, preset: str):
    values = flatten(load(tmp_path, preset).tracked())
    assert {name: values[name] for name in PUBLISHED | PRESETS[preset]} == PUBLISHED | PRESETS[preset]


def test_every_key_that_a_preset_decides_is_null_by_default():
    raw = flatten(yaml.safe_load((REPOSITORY / "params.yaml").read_text()))
    decided = set(PUBLISHED).union(*PRESETS.values())
    assert {name for name in decided if raw[name] is not None} == set()


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


def test_what_is_no_mapping_or_names_no_preset_is_left_to_the_validation():
    assert expand({"diffusion": 3, "sample": None}) == {"diffusion": 3, "sample": None}
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
