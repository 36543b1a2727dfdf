"""The first difference and what explains it, without running anything."""

from dataclasses import replace
from typing import Any

import pytest

from rediffuse.verify.comparison import Making, compare

ORDER = ("split", "train", "sample")
MD5 = "0123456789abcdef" * 2
OTHER = "fedcba9876543210" * 2
BUG = "nothing in the environment explains it: this is a bug, please report it"


def makings() -> dict[str, Making]:
    environment = {"torch": "2.14.1", "threads": "2"}
    return {
        "split": Making(outs={"split.parquet": MD5}, deps={}, params={"seed": 0}, environment=environment),
        "train": Making(
            outs={"model.safetensors": MD5, "train.json": MD5},
            deps={"split.parquet": MD5, "src/rediffuse/training": MD5},
            params={"train.lr": 0.002, "train.steps": 40},
            environment=environment,
        ),
        "sample": Making(outs={"images.npy": MD5}, deps={"model.safetensors": MD5}, params={}, environment=environment),
    }


def with_train(**changes: Any) -> dict[str, Making]:
    """The makings, where training and sampling wrote something else."""
    made = makings()
    made["train"] = replace(made["train"], outs={"model.safetensors": OTHER, "train.json": MD5}, **changes)
    made["sample"] = replace(made["sample"], outs={"images.npy": OTHER}, deps={"model.safetensors": OTHER})
    return made


def test_equal_outs_are_the_same_whatever_made_them():
    there = makings()
    there["train"] = replace(there["train"], environment={"torch": "2.11.0"}, params={"train.lr": 1.0})
    verdict = compare(makings(), there, ORDER)
    assert verdict.same
    assert verdict.lines == ("same: 4 outs of 3 stages",)


@pytest.mark.parametrize(
    ("changes", "explanation"),
    [
        ({}, ("its inputs are the same", BUG)),
        (
            {"environment": {"torch": "2.11.0", "threads": "2"}},
            ("its inputs are the same", "the environment differs: torch 2.14.1 here, 2.11.0 there"),
        ),
        (
            {"deps": {"split.parquet": MD5, "src/rediffuse/training": OTHER}, "params": {"train.lr": 1.0}},
            (
                "its inputs differ already: src/rediffuse/training (code), train.lr (0.002 here, 1.0 there), "
                "train.steps (40 here, None there)",
            ),
        ),
        (
            {"environment": None},
            (
                "its inputs are the same",
                "no record is left of the environment there: another kind of CPU or GPU, number of threads "
                "or version of torch would explain it",
            ),
        ),
    ],
    ids=["bug", "environment", "inputs", "unknown"],
)
def test_the_first_stage_that_differs_is_named_and_explained(changes: dict[str, Any], explanation: tuple[str, ...]):
    verdict = compare(makings(), with_train(**changes), ORDER)
    assert not verdict.same
    assert verdict.lines == (
        "train: model.safetensors differs (0123456789ab… here, fedcba987654… there)",
        *explanation,
    )


def test_the_order_of_the_stages_decides_which_is_the_first():
    assert compare(makings(), with_train(), ("sample", "train")).lines[0].startswith("sample: images.npy")


def test_a_stage_or_an_out_that_one_side_lacks_is_a_difference():
    there = makings()
    del there["sample"]
    assert compare(makings(), there, ORDER).lines == ("sample: it has no outs there",)
    assert compare(there, makings(), ORDER).lines == ("sample: it has no outs here",)
    there = makings()
    there["train"] = replace(there["train"], outs={})
    said = compare(makings(), there, ORDER).lines[0]
    assert said == "train: model.safetensors differs (0123456789ab… here, none there), and 1 more of its outs"
