from pathlib import Path

import pytest

from rediffuse.params import Params, load_params
from rediffuse.tracking.key import content_key
from rediffuse.workspace import Workspace

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def tree(tmp_path: Path) -> Workspace:
    contents = {
        "dvc.yaml": "stages: {}\n",
        "src/rediffuse/loss.py": "a = 1\n",
        "src/rediffuse/data/cleaning.py": "b = 2\n",
        "src/rediffuse/tracking/run.py": "c = 3\n",
        "stages/train.py": "d = 4\n",
        "README.md": "e\n",
    }
    for name, content in contents.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return Workspace.at(tmp_path)


@pytest.fixture
def default() -> Params:
    return load_params(CHECKOUT / "params.yaml")


@pytest.mark.parametrize(
    "name", ["dvc.yaml", "src/rediffuse/loss.py", "src/rediffuse/data/cleaning.py", "stages/train.py"]
)
def test_the_key_changes_with_what_decides_a_result(tree: Workspace, default: Params, name: str) -> None:
    before = content_key(default, tree)
    (tree.root / name).write_text("x = 5\n")
    assert content_key(default, tree) != before


def test_the_key_changes_with_a_new_file_and_a_renamed_one(tree: Workspace, default: Params) -> None:
    first = content_key(default, tree)
    (tree.root / "stages" / "sample.py").write_text("")
    second = content_key(default, tree)
    (tree.root / "stages" / "sample.py").rename(tree.root / "stages" / "samples.py")
    assert len({first, second, content_key(default, tree)}) == 3


@pytest.mark.parametrize("name", ["src/rediffuse/tracking/run.py", "README.md", "stages/__pycache__/train.pyc"])
def test_the_key_ignores_what_decides_no_result(tree: Workspace, default: Params, name: str) -> None:
    before = content_key(default, tree)
    path = tree.root / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("x = 5\n")
    assert content_key(default, tree) == before


def test_the_key_changes_with_a_parameter_but_not_with_runtime(tree: Workspace, default: Params) -> None:
    trained_longer = default.model_copy(update={"train": default.train.model_copy(update={"steps": 9000})})
    on_cuda = default.model_copy(update={"runtime": default.runtime.model_copy(update={"device": "cuda"})})
    assert content_key(trained_longer, tree) != content_key(default, tree)
    assert content_key(on_cuda, tree) == content_key(default, tree)


def test_the_key_is_the_same_in_another_folder(tree: Workspace, default: Params, tmp_path: Path) -> None:
    before = content_key(default, tree)
    moved = tmp_path.rename(tmp_path.with_name("elsewhere"))
    assert content_key(default, Workspace(root=moved, home=tmp_path)) == before
