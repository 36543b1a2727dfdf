"""A file of prompts from the command line: the pipeline's images, the rest of a stopped job, or one line."""

import csv
import errno
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rediffuse.params import load_params
from rediffuse.serving.answers import Answers
from rediffuse.serving.jobs import folder
from rediffuse.workspace import Workspace
from stages.generate import main
from stages.sample import sample
from tests.serving.tiny import write_tiny

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    write_tiny(folder)
    return folder


@pytest.fixture
def inside(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(made)
    return made


def generated(prompts: Path, out: Path, *options: str) -> int:
    try:
        main(["--prompts", str(prompts), "--out", str(out), *options])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def contents(path: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in path.iterdir()}


def test_the_images_of_seed_and_index_are_the_pipelines_whatever_stands_beside_them(
    made: Path, inside: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = Workspace.at(tmp_path / "pipeline")
    write_tiny(workspace.root)
    # The stage wants the weights at the end, too.
    (workspace.root / "models" / "raw.safetensors").write_bytes(workspace.denoiser.read_bytes())
    sample(load_params(workspace.params), workspace)
    images = np.load(workspace.sampled_images)
    capsys.readouterr()
    rows = tmp_path / "rows.csv"
    rows.write_text("prompt,seed,index,count,steps\ndog,9,,3,\n,3,,6,\n(cat:1.2),1,,2,3\n")
    assert generated(rows, tmp_path / "out") == 0
    assert capsys.readouterr().out == "generate: 0 images were there already, 11 were drawn\n"
    table = list(csv.DictReader((tmp_path / "out" / "manifest.csv").read_text().splitlines()))
    assert [row["file"] for row in table[3:9]] == [f"000001-00{index}.png" for index in range(6)]
    for row, image in zip(table[3:9], images, strict=True):
        with Image.open(tmp_path / "out" / row["file"]) as drawn:
            assert np.array_equal(np.asarray(drawn), image[0])

    # The same from a source that is named, and nothing is drawn twice.
    before = contents(tmp_path / "out")
    (tmp_path / "out" / table[4]["file"]).unlink()
    assert generated(rows, tmp_path / "out", "--model", str(made / "models" / "denoiser.safetensors")) == 0
    assert capsys.readouterr().out == "generate: 10 images were there already, 1 were drawn\n"
    assert contents(tmp_path / "out") == before


@pytest.mark.parametrize(
    ("text", "options", "line"),
    [
        ("prompt\ncat\nfish\n", (), "rows.csv, line 3, column prompt: "),
        ("seed\n1\nx\n", (), "rows.csv, line 3, column seed: 'x' is no whole number"),
        ("seed,steps\n1,-3\n", (), "rows.csv, line 2, column steps: steps is -3; a whole number from 1"),
        (None, (), "--prompts: {rows} can't be read: No such file or directory"),
        ("seed\n1\n", ("--model", "nowhere.safetensors"), "nowhere.safetensors is not there"),
        ("seed\n1\n", ("--model", "models:/digits@champion"), "there is no registry"),
    ],
)
@pytest.mark.usefixtures("inside")
def test_what_can_not_be_used_is_one_line_before_anything_is_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, options: tuple[str, ...], line: str
) -> None:
    rows = tmp_path / "rows.csv"
    if text is not None:
        rows.write_text(text)
    assert generated(rows, tmp_path / "out", *options) == 2
    told = capsys.readouterr().err
    assert told.startswith("stage generate: ")
    assert told.count("\n") == 1
    assert line.format(rows=rows) in told
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("inside")
def test_a_full_disk_and_a_signal_end_it_so_that_the_same_command_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("label,seed,count\nowl,1,6\n")
    write, images = folder._put, Answers.images

    def full(path: Path, content: bytes) -> None:
        if path.name == "000000-002.png":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write(path, content)

    def interrupted(self: Answers, wanted: list) -> list:  # type: ignore[type-arg]
        signal.raise_signal(signal.SIGTERM)
        return images(self, wanted)

    with monkeypatch.context() as patched:
        patched.setattr(folder, "_put", full)
        assert generated(rows, tmp_path / "out") == 75
        assert "No space left on device" in capsys.readouterr().err
    with monkeypatch.context() as patched:
        patched.setattr(Answers, "images", interrupted)
        assert generated(rows, tmp_path / "out") == 75
        assert capsys.readouterr().err == "stage generate: interrupted by SIGTERM; the same command goes on\n"
    assert generated(rows, tmp_path / "out") == 0
    assert capsys.readouterr().out == "generate: 2 images were there already, 4 were drawn\n"
    with Image.open(io.BytesIO((tmp_path / "out" / "000000-005.png").read_bytes())) as image:
        assert image.size == (8, 8)


@pytest.mark.slow
def test_a_process_that_was_killed_is_gone_on_with_to_the_same_bytes(made: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("prompt,seed,count,steps\ncat,1,200,9\nowl,2,200,9\n")
    command = [sys.executable, "-m", "stages.generate", "--prompts", str(rows), "--out"]
    surroundings = os.environ | {"PYTHONPATH": os.pathsep.join([str(CHECKOUT / "src"), str(CHECKOUT)])}
    for kill in (5, 100, 250):
        process = subprocess.Popen([*command, str(tmp_path / "killed")], cwd=made, env=surroundings)
        while process.poll() is None and len(list(tmp_path.glob("killed/*.png"))) < kill:
            time.sleep(0.01)
        process.kill()
        process.wait()
    for out in ("killed", "whole"):
        subprocess.run([*command, str(tmp_path / out)], cwd=made, env=surroundings, check=True)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert len(contents(tmp_path / "whole")) == 402
