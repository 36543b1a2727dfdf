"""Stage `survey`: the same bytes for the same data, and sections only where there is something to say."""

from dataclasses import replace
from pathlib import Path

from rediffuse.workspace import Workspace
from stages.survey import survey
from tests.data.planted import contents, params_with
from tests.survey.conftest import planted_workspace
from tests.survey.planted_tables import kept, write_workspace


def test_the_same_data_gives_the_same_bytes_wherever_it_lies(tmp_path: Path) -> None:
    made = [planted_workspace(tmp_path / name) for name in ("one", "another")]
    stale = made[1].data_pictures / "stale.png"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"of an earlier run")
    for workspace in made:
        assert survey(params_with(), workspace) == {"pictures": 12}
    first, second = (contents(workspace.data_report.parent) for workspace in made)
    assert first == second
    assert len(first) == 13
    assert str(tmp_path).encode() not in first["data.html"]


def test_a_section_that_is_not_there_is_not_linked(tmp_path: Path) -> None:
    set_aside = replace(kept(9), fate="quarantined", reason="label_suspect", detail="'a' has probability 0.01")
    images = [kept(number, label=0, split=("train", "val", "test")[number % 3]) for number in range(9)]
    workspace = write_workspace(tmp_path, [*images, set_aside], ("a",))
    survey(params_with(), workspace)
    page = workspace.data_report.read_text()
    assert "1 quarantined" in page
    assert "More below" not in page


def unlabelled(root: Path) -> Workspace:
    images = [kept(number, split=("train", "val", "test")[number % 3]) for number in range(9)]
    return write_workspace(root, images, ())


def test_what_there_is_nothing_to_say_of_has_no_section(tmp_path: Path) -> None:
    workspace = unlabelled(tmp_path)
    survey(params_with(), workspace)
    page = workspace.data_report.read_text()
    assert "9 found = 9 kept + 0 quarantined + 0 rejected" in page
    assert "3 train + 3 val + 3 test</li>" in page
    assert "<dt>licence</dt><dd>not stated</dd>" in page
    for heading in (
        "What cleaning found",
        "What decoding",
        "Duplicates side",
        "Unlike their",
        "Unlikely",
        "Classes in",
    ):
        assert heading not in page
    assert sorted(contents(workspace.data_pictures)) == ["dimensions.png", "examples.png", "flow.png", "quality.png"]
