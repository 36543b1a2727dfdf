"""dvc.yaml names all that decides a stage's bytes, and nothing that does not."""

import subprocess
import sys
from pathlib import Path

import grimp
import pytest

from rediffuse import yaml12
from rediffuse.tracking import LAST_STAGE

CHECKOUT = Path(__file__).parents[2]
STAGES = yaml12.load(CHECKOUT / "dvc.yaml")["stages"]

# Where a change can't change what a stage computes: how it is started, told of, read from files and shown in between.
PLUMBING = {
    "rediffuse",
    "rediffuse.errors",
    "rediffuse.gpus",
    "rediffuse.joining",
    "rediffuse.leaving",
    "rediffuse.memory",
    "rediffuse.params",
    "rediffuse.progress",
    "rediffuse.provenance",
    "rediffuse.stage",
    "rediffuse.state_folder",
    "rediffuse.tracking",
    "rediffuse.workspace",
    "rediffuse.yaml12",
}
# Previews of training go to MLflow alone.
PREVIEWS = {"rediffuse.pictures", "rediffuse.sampling", "rediffuse.samplers"}


# What params makes of the null keys of these sections.
PRESETS, OF_PRESETS = {"rediffuse.presets"}, {"diffusion", "sample"}


def sections(stage: str) -> set[str]:
    """The sections of params.yaml that a stage lists, whole or in part."""
    return {key.split(".")[0] for key in STAGES[stage]["params"]}


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("rediffuse", "stages", cache_dir=None)


def part(module: str) -> str:
    """The package or file below src/rediffuse that a module belongs to."""
    return ".".join(module.split(".")[:2])


def imported(graph: grimp.ImportGraph, stage: str) -> set[str]:
    """The parts a stage's file imports, directly or not, without looking behind the plumbing."""
    found, waiting = set(), {f"stages.{stage}"}
    while waiting:
        module = waiting.pop()
        for target in graph.find_modules_directly_imported_by(module):
            if part(target) not in PLUMBING and target not in found:
                found.add(target)
                waiting.add(target)
    return {part(module) for module in found}


def test_a_checkpoint_belongs_to_the_code_that_training_depends_on():
    from stages.train import SOURCE

    declared = [dep for dep in STAGES["train"]["deps"] if str(dep).startswith("src/rediffuse/")]
    # A checkpoint's name holds what the presets made of the parameters.
    assert set(SOURCE) == {str(dep).removeprefix("src/rediffuse/") for dep in declared} - {"presets.py"}


@pytest.mark.parametrize("stage", sorted(STAGES.keys() - {"check"}))
def test_a_stage_depends_on_the_code_it_imports_and_no_other(graph: grimp.ImportGraph, stage: str):
    declared = {f"rediffuse.{Path(dep).stem}" for dep in STAGES[stage]["deps"] if str(dep).startswith("src/rediffuse/")}
    needed = imported(graph, stage) - (PREVIEWS if stage == "train" else set())
    if stage == "evaluate":
        # Its report names the digests of the code of these.
        needed = needed.union(imported(graph, "train") - PREVIEWS, imported(graph, "sample"))
    needed |= PRESETS if sections(stage) & OF_PRESETS else set()
    assert declared == needed
    assert f"stages/{stage}.py" in STAGES[stage]["deps"]


def test_no_stage_lists_the_runtime():
    assert not [name for name, stage in STAGES.items() if "runtime" in str(stage["params"])]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_reads_the_parameters_it_lists_and_no_others(stage: str):
    text = (CHECKOUT / "stages" / f"{stage}.py").read_text()
    known = yaml12.load(CHECKOUT / "params.yaml").keys() - {"runtime"}
    used = {section for section in known if f"params.{section}" in text}
    listed = sections(stage)
    if stage == "check":
        assert listed == known
    elif "params.tracked()" in text:
        # How a model is registered and spoken to is shown in no report, and a change of it scores nothing again.
        assert listed == known - {"register", "prompts"}
    elif stage == "train":
        # The previews follow the section sample, and go to MLflow alone.
        assert used - {"sample"} == listed
    else:
        # Its null keys take the preset's values.
        assert used | ({"diffusion"} if "sample" in used else set()) == listed


def test_a_change_of_any_parameter_runs_the_last_stage_which_ends_the_run_in_mlflow():
    last = STAGES[LAST_STAGE]
    reporting = STAGES["evaluate"]
    assert "reports/report.html" in set(last["deps"]) & set(reporting["outs"])
    # The report shows each of these, whatever it does to the scores.
    shown, own = set(reporting["params"]), sections(LAST_STAGE)
    known = yaml12.load(CHECKOUT / "params.yaml").keys() - {"runtime"}
    assert known - shown == {LAST_STAGE, "prompts"}
    assert known - shown <= own


def test_the_weights_are_a_dep_of_all_but_the_stage_that_brings_them_and_words_beside_them_are_none():
    assert [name for name, stage in STAGES.items() if "${reference.weights}" in stage["deps"]] == [
        *("reference", "sweep", "evaluate"),
    ]
    names = ("README.md", ".gitignore", ".77.net.pt2", "own/.77.net.pt2", "net.pt2", "own/net.pt2")
    paths = [f"data/extractors/{name}" for name in names]
    command = [sys.executable, "-m", "dvc", "check-ignore", *paths]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == paths[:4]


def test_a_fresh_clone_lacks_an_out_of_the_last_stage_so_that_its_run_is_finished_too():
    outs = STAGES[LAST_STAGE].get("outs", ())
    assert [entry for entry in outs if isinstance(entry, str)]


def test_metrics_plots_and_pictures_are_in_git_and_the_rest_in_the_cache():
    for stage in STAGES.values():
        for kind in ("metrics", "plots"):
            for entry in stage.get(kind, ()):
                assert next(iter(entry.values()))["cache"] is False
        for entry in stage.get("outs", ()):
            name = entry if isinstance(entry, str) else next(iter(entry))
            assert isinstance(entry, dict) == name.endswith(".png")
