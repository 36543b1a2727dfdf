"""Reading experiments by their commits."""

from collections.abc import Callable

import pytest

from rediffuse.compare.experiments import find, require_alike
from rediffuse.errors import UserError
from tests.compare.conftest import GitRepository


def test_metrics_come_from_the_experiment_and_not_from_the_checkout(make_git: Callable[[], GitRepository]):
    repository = make_git()
    repository.experiment("compare-edm", fd=3.25)
    repository.experiment("compare-flow", fd=4.5, preset="flow")
    found = find(repository.root, ["flow", "ddpm", "edm"])
    assert list(found) == ["flow", "edm"]
    assert [each.metrics("evaluate")["fidelity"]["fd"] for each in found.values()] == [4.5, 3.25]
    assert found["edm"].params == {"seed": 0, "diffusion.preset": "edm", "train.steps": 40}
    assert found["edm"].digests == {"models/a": "123"}


def test_experiments_of_the_nearest_commit_that_has_any_are_taken_and_none_beside_them(
    make_git: Callable[[], GitRepository],
):
    repository = make_git()
    repository.experiment("compare-edm", fd=1.0)
    repository.experiment("compare-flow", fd=2.0)
    repository.commit(note_txt="second")
    repository.experiment("compare-edm", fd=3.0)
    repository.commit(note_txt="third")
    found = find(repository.root, ["edm", "flow"])
    assert list(found) == ["edm"]
    assert found["edm"].metrics("evaluate")["fidelity"]["fd"] == 3.0


def test_an_experiment_of_another_name_is_no_preset(make_git: Callable[[], GitRepository]):
    repository = make_git()
    for name in ("edm", "compare-edm2x", "other-edm"):
        repository.experiment(name)
    assert find(repository.root, ["edm", "edm2"]) == {}


def test_what_differs_in_more_than_the_preset_is_not_compared(make_git: Callable[[], GitRepository]):
    repository = make_git()
    repository.experiment("compare-edm", threads=1)
    repository.experiment("compare-flow", preset="flow", threads=2)
    require_alike(find(repository.root, ["edm", "flow"]))
    repository.experiment("compare-ddpm", preset="ddpm", steps=80)
    with pytest.raises(UserError, match=r"compare-edm and compare-ddpm differ in train.steps \(40 and 80\)"):
        require_alike(find(repository.root, ["edm", "flow", "ddpm"]))
