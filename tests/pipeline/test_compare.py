"""`python -m rediffuse.compare` in a repository of its own: experiments, table, picture, page."""

from collections.abc import Callable
from pathlib import Path

import pytest

from rediffuse import files
from rediffuse.compare.pages import BEGIN, END
from tests.repository import Repository

COMMAND = ("python", "-m", "rediffuse.compare", "--presets", "edm,flow", "--set", "train.steps=20")
SAMPLING = ("--set", "sample.steps=4", "--set", "sample.sampler=heun")


@pytest.mark.slow
def test_the_presets_are_compared_twice_with_the_same_scores_and_one_that_fails_loses_no_other(
    make_repository: Callable[[Path], Repository], tmp_path: Path
):
    repository = make_repository(tmp_path / "repository")
    readme = repository.path / "README.md"
    readme.write_text(f"# title\n{BEGIN}\n{END}\nrest\n")
    repository.commit()
    source = {"PYTHONPATH": str(repository.path / "src")}

    said = repository.run(*COMMAND, *SAMPLING, **source)
    assert "sample.sampler=heun, sample.steps=4" in said
    assert "compare-flow (2 of 2): success" in said
    first = files.read_json(repository.workspace.metrics("compare"))
    assert first["families"].keys() == {"edm", "flow"}
    assert first["families"]["edm"]["evaluations"] == 7
    assert first["families"]["edm"]["fd"] != first["families"]["flow"]["fd"]
    assert first["seconds"]["flow"].keys() == {"train", "sample"}
    assert "| flow |" in readme.read_text()
    assert readme.read_text().endswith(f"{END}\nrest\n")
    assert (repository.path / "docs/pictures/families.png").is_file()
    assert (repository.path / "reports/compare.html").is_file()
    listed = repository.run("git", "for-each-ref", "--format=%(refname)", "refs/exps")
    assert {line.rpartition("/")[2] for line in listed.splitlines()} >= {"compare-edm", "compare-flow"}

    repository.run(*COMMAND, *SAMPLING, **source)
    again = files.read_json(repository.workspace.metrics("compare"))
    assert again | {"seconds": None} == first | {"seconds": None}

    # Annealed Langevin dynamics is refused on flow's path.
    said = repository.run(*COMMAND, "--set", "sample.steps=4", "--set", "sample.grid=karras", "--set",
                          "sample.sampler=annealed_langevin", code=1, **source)  # fmt: skip
    assert "no result of flow" in said
    families = files.read_json(repository.workspace.metrics("compare"))["families"]
    assert families["flow"] is None
    assert families["edm"] is not None
