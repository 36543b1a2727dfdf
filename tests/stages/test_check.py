"""Stage `check`: the weights that extractors need are there before any other stage looks at their folder."""

from collections.abc import Callable
from pathlib import Path

import pytest

from rediffuse.errors import UserError
from rediffuse.params import Params
from rediffuse.workspace import Workspace
from stages.check import check
from tests.data.planted import params_with

Asking = Callable[..., Params]


@pytest.fixture
def asking() -> Asking:
    """Parameters for the digits with changes in the section `reference`."""

    def make(**changes: object) -> Params:
        return params_with(prepare__source="digits", **{f"reference__{key}": value for key, value in changes.items()})

    return make


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """DVC's temporary folder of an experiment, whose checkout holds a file that git does not know."""
    for place in ("checkout", "temporary"):
        (tmp_path / place / "data" / "extractors").mkdir(parents=True)
    (tmp_path / "checkout" / "data" / "extractors" / "net.pt2").write_bytes(b"weights")
    return Workspace(root=tmp_path / "temporary", home=tmp_path / "checkout")


def test_an_experiment_in_a_temporary_folder_gets_the_checkouts_weights(workspace: Workspace, asking: Asking) -> None:
    params = asking(extractors=("classifier", "custom"), custom="net.pt2")
    check(params, workspace)
    assert (workspace.root / "data" / "extractors" / "net.pt2").read_bytes() == b"weights"
    assert workspace.checked.is_file()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"extractors": ("classifier", "custom"), "custom": "absent.pt2"}, r"reference\.custom is absent\.pt2, but .*"),
        ({"extractors": ("inception",)}, "holds no weights-inception.*set reference.download: true"),
        (
            {"weights": "data/absent", "extractors": ("inception",)},
            r"reference\.weights is .*data/absent, but there is no such folder",
        ),
    ],
)
def test_what_is_missing_is_refused_before_any_stage_runs(
    changes: dict[str, object], message: str, workspace: Workspace, asking: Asking
) -> None:
    with pytest.raises(UserError, match=message):
        check(asking(**changes), workspace)
    assert not workspace.checked.exists()


def test_nothing_heavy_is_imported_where_no_network_is_asked_for() -> None:
    import subprocess
    import sys

    program = "import sys, stages.check; print({'torch', 'timm', 'torch_fidelity'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
