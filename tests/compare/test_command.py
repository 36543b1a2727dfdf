"""What `make compare` asks of DVC."""

from pathlib import Path

from dvc.utils.hydra import apply_overrides

from rediffuse.compare.__main__ import _made, settings_of
from rediffuse.params import flatten
from rediffuse.presets import SIZES
from rediffuse.yaml12 import load
from tests.repository import CHECKOUT


def changed(tmp_path: Path, *given: str) -> dict[str, dict[str, object]]:
    """params.yaml as `dvc exp run -S` leaves it."""
    path = tmp_path / "params.yaml"
    path.write_text((CHECKOUT / "params.yaml").read_text())
    apply_overrides(path, settings_of("flow", given))
    return load(path)


def test_the_presets_run_without_sweep_and_registration(tmp_path: Path):
    params = changed(tmp_path)
    assert params["diffusion"]["preset"] == "flow"
    sweep = params["sweep"]
    assert [sweep["guidance"], *sweep["steps"].values()] == [[]] * (1 + len(sweep["steps"]))
    assert params["register"]["enabled"] is False
    before = load(CHECKOUT / "params.yaml")
    assert {name for name in params if params[name] != before[name]} == {"diffusion", "sample", "sweep", "register"}


def test_each_paper_has_its_own_sampler_whatever_params_yaml_says(tmp_path: Path):
    sample, before = changed(tmp_path)["sample"], load(CHECKOUT / "params.yaml")["sample"]
    changes = {key: value for key, value in sample.items() if value != before[key]}
    assert changes == {"sampler": None, "grid": None, "steps": None}
    assert changed(tmp_path, "sample.sampler=ddim", "sample.steps=7")["sample"] == {
        **before,
        "sampler": "ddim",
        "grid": None,
        "steps": 7,
    }


def test_what_a_size_decides_is_shown_as_it_is(tmp_path: Path):
    made = _made(flatten(changed(tmp_path, "model.unet.width=32")))
    expected = SIZES["tiny"] | {"model.unet.width": 32, "model.unet.dropout": 0.0}
    assert {key: value for key, value in made.items() if key.startswith("model.unet.")} == expected
    assert (made["model.name"], made["sample.guidance"]) == ("unet", 1.0)


def test_a_key_that_is_given_holds(tmp_path: Path):
    params = changed(tmp_path, "sweep.steps.heun=[9,18]", "register.enabled=true", "seed=3")
    assert params["sweep"]["steps"]["heun"] == [9, 18]
    assert params["sweep"]["steps"]["ddim"] == []
    assert (params["register"]["enabled"], params["seed"]) == (True, 3)
