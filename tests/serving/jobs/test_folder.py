"""However often and wherever a job is stopped, its folder ends with the bytes of one that never was."""

import csv
import hashlib
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rediffuse import files
from rediffuse.errors import TryAgainError, UserError
from rediffuse.serving.jobs import folder as job_folder
from rediffuse.serving.jobs.drawing import Tally, complete
from rediffuse.serving.jobs.folder import COLUMNS, opened
from rediffuse.serving.jobs.items import RowError, items_of
from rediffuse.serving.record import read_record
from rediffuse.serving.request import ImageRequest, wanted
from rediffuse.serving.wanted import Wanted
from tests.serving.jobs.stand_in import StandIn

ROWS = [
    ImageRequest(prompt="cat", seed=1, count=3),
    ImageRequest(seed=2, index=4, count=2, steps=7),
    ImageRequest(label="owl", seed=-3, count=6),
    ImageRequest(prompt="dog", seed=5, steps=7, temperature=0.5),
]
FILES = [f"00000{row}-00{number}.png" for row, count in enumerate((3, 2, 6, 1)) for number in range(count)]


class KilledError(BaseException):
    """As a kill: nothing after it is done."""


def draw(path: Path, answers: Any, rows: Sequence[ImageRequest] = ROWS, seen: Any = lambda _: None) -> Tally:
    items = items_of(rows, answers)
    with opened(path, rows, answers, items) as folder:
        return complete(folder, items, answers, lambda wanted: partial(answers.images, wanted), seen)


def contents(path: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in path.iterdir()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    path = tmp_path_factory.mktemp("whole")
    draw(path, StandIn())
    return contents(path)


def test_the_manifest_lists_every_file_in_the_order_of_the_rows_with_what_it_holds(whole: dict[str, bytes]) -> None:
    table = list(csv.DictReader(whole["manifest.csv"].decode().splitlines()))
    assert set(whole) == {"job.json", "manifest.csv", *FILES}
    assert [row["file"] for row in table] == FILES
    assert tuple(table[0]) == COLUMNS
    for row in table:
        content = whole[row["file"]]
        record = read_record(content)
        assert row["sha256"] == hashlib.sha256(content).hexdigest()
        assert (int(row["row"]), row["prompt"], int(row["seed"]), int(row["index"]), int(row["steps"])) == (
            int(row["file"][:6]), record.prompt, record.seed, record.index, record.steps,
        )  # fmt: skip
        assert (row["to_seed"], float(row["share"]), row["model"]) == ("", 0.0, "a" * 64)
    assert [(row["prompt"], row["seed"], row["index"]) for row in table[2:5]] == [
        ("cat", "1", "2"), ("dog", "2", "4"), ("owl", "2", "5"),
    ]  # fmt: skip


def test_images_of_one_kind_are_drawn_together_whatever_stands_between_them(tmp_path: Path) -> None:
    answers, batches = StandIn(), []
    images = answers.images

    def noted(wanted: Sequence[Wanted]) -> list[np.ndarray]:
        batches.append([each.settings.steps for each in wanted])
        return images(wanted)

    answers.images = noted  # type: ignore[method-assign]
    assert draw(tmp_path, answers) == Tally(0, 12)
    assert batches == [[20] * 4, [20] * 4, [20], [7] * 2, [7]]


def test_a_job_killed_at_any_write_goes_on_to_the_same_bytes(
    tmp_path: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [0]

    def killed(write: Callable[[Path, bytes], None], path: Path, content: bytes) -> None:
        # Before the file is there, and with what a killed process leaves of it.
        if not left[0]:
            path.with_name(f".4711.{path.name}").write_bytes(content[: len(content) // 2])
            raise KilledError
        left[0] -= 1
        write(path, content)

    monkeypatch.setattr(files, "write_bytes", partial(killed, files.write_bytes))
    monkeypatch.setattr(job_folder, "_put", partial(killed, job_folder._put))
    # No power is cut here, and hundreds of waits for the disk are long.
    monkeypatch.setattr(os, "fsync", lambda _: None)
    # The job, its images, and the manifest three times.
    writes = 1 + len(FILES) + 3
    for at in range(writes):
        path, left[0] = tmp_path / str(at), at
        with pytest.raises(KilledError):
            draw(path, StandIn())
        there = {name for name in contents(path) if name in FILES}
        # Killed once more, two writes later.
        left[0] = 2
        with suppress(KilledError):
            draw(path, StandIn())
        left[0] = 1000
        last = StandIn()
        tally = draw(path, last)
        assert contents(path) == whole
        assert tally.there >= len(there)
        assert len(last.drawn) == tally.drawn == len(FILES) - tally.there


def test_a_process_that_is_killed_leaves_what_another_goes_on_from(tmp_path: Path, whole: dict[str, bytes]) -> None:
    child = os.fork()
    if not child:
        # In the middle of the second batch's second file.
        write, left = job_folder._put, iter(range(7, 0, -1))
        job_folder._put = lambda *file: write(*file) if next(left) > 1 else os.kill(os.getpid(), signal.SIGKILL)
        draw(tmp_path, StandIn())
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    there = len(contents(tmp_path).keys() & set(FILES))
    assert there == 6
    assert draw(tmp_path, StandIn()) == Tally(there, 12 - there)
    assert contents(tmp_path) == whole


def test_on_the_way_the_manifest_is_a_beginning_of_the_last_one(tmp_path: Path, whole: dict[str, bytes]) -> None:
    beginnings = []

    def seen(_: int) -> None:
        if (tmp_path / "manifest.csv").exists():
            beginnings.append((tmp_path / "manifest.csv").read_bytes())

    draw(tmp_path, StandIn(), seen=seen)
    assert [each.count(b"\n") for each in beginnings] == [4, 4, 4, 12]
    assert all(whole["manifest.csv"].startswith(each) for each in beginnings)


def test_a_power_cut_at_any_moment_loses_nothing_that_was_told(
    tmp_path: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    safe: dict[int, bytes] = {}  # what the disk holds of each file, by its number

    def noted(descriptor: int) -> None:
        if not os.path.isdir(f"/proc/self/fd/{descriptor}"):  # noqa: PTH112
            safe[os.fstat(descriptor).st_ino] = os.pread(descriptor, 10**6, 0)

    monkeypatch.setattr(os, "fsync", noted)
    told: list[dict[str, bytes]] = []

    def after_a_cut(_: int = 0) -> None:
        # A name may be there before what it names.
        told.append({each.name: safe.get(each.stat().st_ino, b"") for each in tmp_path.glob("*")})

    draw(tmp_path / "job", StandIn(), seen=lambda _: None)
    tmp_path = tmp_path / "job"
    after_a_cut()
    assert told[0] == whole
    # Cut while it is drawn: what is listed is safe, and what is not is found and drawn again.
    for at in range(2, 5):
        path, left = tmp_path.parent / str(at), iter(range(at, 0, -1))

        def cut(_: int, left: Any = left) -> None:
            if next(left) == 1:
                raise KilledError

        with pytest.raises(KilledError):
            draw(path, StandIn(), seen=cut)
        for file in path.iterdir():
            file.write_bytes(safe.get(file.stat().st_ino, b""))
        torn = {name for name, content in contents(path).items() if not content}
        assert torn
        listed = (path / "manifest.csv").read_text() if (path / "manifest.csv").exists() else ""
        assert not any(name in listed for name in torn)
        again = StandIn()
        draw(path, again)
        assert contents(path) == whole
        assert len(again.drawn) < 12 or not listed


def test_the_next_batch_is_asked_for_before_the_last_one_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, told = StandIn(), []

    def ask(wanted: Sequence[Wanted]) -> Callable[[], list[np.ndarray]]:
        told.append(f"ask {len(wanted)}")
        return partial(answers.images, wanted)

    put = job_folder._put
    monkeypatch.setattr(job_folder, "_put", lambda *file: (told.append("write"), put(*file)))
    items = items_of(ROWS, answers)  # type: ignore[arg-type]
    with opened(tmp_path, ROWS, answers, items) as folder:  # type: ignore[arg-type]
        complete(folder, items, answers, ask)  # type: ignore[arg-type]
    assert told[:9] == ["ask 4", "ask 4", *["write"] * 4, "ask 1", *["write"] * 2]


@pytest.mark.parametrize("damage", ["cut", "flipped", "another", "none", "end", "longer"])
def test_an_image_that_is_damaged_or_another_is_drawn_again_and_no_other(
    tmp_path: Path, whole: dict[str, bytes], damage: str
) -> None:
    draw(tmp_path, StandIn())
    bad = tmp_path / FILES[4]
    content = bytearray(bad.read_bytes())
    if damage == "flipped":
        content[content.index(b"IDAT") + 30] ^= 255
    damaged = {
        "cut": content[:-40],
        "another": whole[FILES[3]],
        "none": b"",
        "end": content[:-8] + bytes(8),
        "longer": content + bytes(9),
    }
    bad.write_bytes(damaged.get(damage, content))
    answers = StandIn()
    assert draw(tmp_path, answers) == Tally(11, 1)
    assert [(each.origin.seed, each.origin.index) for each in answers.drawn] == [(2, 5)]
    assert contents(tmp_path) == whole


@pytest.mark.parametrize(
    ("answers", "rows", "message"),
    [
        (StandIn("b" * 64), ROWS, f"was begun with the model {'a' * 64}, this one is {'b' * 64}"),
        (StandIn(grid="uniform"), ROWS, "another job (sampling.grid: 'karras' there, 'uniform' here)"),
        (StandIn(), ROWS[:3], "another job (rows: it has 4, this one 3)"),
        (StandIn(), [*ROWS[:3], ImageRequest(prompt="dog", seed=6)], "another job (rows.3.seed: 5 there, 6 here)"),
    ],
)
def test_the_folder_of_another_job_or_model_is_refused_and_left_as_it_is(
    tmp_path: Path, whole: dict[str, bytes], answers: StandIn, rows: list[ImageRequest], message: str
) -> None:
    draw(tmp_path, StandIn())
    with pytest.raises(UserError) as refused:
        draw(tmp_path, answers, rows)
    assert message in str(refused.value)
    assert contents(tmp_path) == whole


@pytest.mark.parametrize("name", ["notes.txt", "000004-000.png", "000000-003.png", ".4711.notes.txt", "photo.png"])
@pytest.mark.parametrize("begun", [False, True])
def test_a_folder_with_files_of_somebody_else_is_refused_and_left_as_it_is(
    tmp_path: Path, name: str, begun: bool
) -> None:
    if begun:
        draw(tmp_path, StandIn())
    (tmp_path / name).write_text("mine")
    (tmp_path / ".4711.job.json").write_text("{")
    before = contents(tmp_path)
    with pytest.raises(UserError, match=f"{name} is no file of this job; use an empty folder"):
        draw(tmp_path, StandIn())
    assert contents(tmp_path) == before


def test_a_file_in_place_of_the_folder_or_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file is a file; a folder is needed"):
        draw(tmp_path / "file", StandIn())
    for text in ("{", "[]", '{"format": 2}'):
        (tmp_path / "job.json").write_text(text)
        (tmp_path / "file").unlink(missing_ok=True)
        with pytest.raises(UserError, match="is no job of this version"):
            draw(tmp_path, StandIn())


def test_two_processes_do_not_draw_one_job_at_a_time(tmp_path: Path) -> None:
    items = items_of(ROWS, StandIn())  # type: ignore[arg-type]
    with opened(tmp_path, ROWS, StandIn(), items), pytest.raises(TryAgainError, match="in use by another process"):  # type: ignore[arg-type]
        draw(tmp_path, StandIn())
    assert draw(tmp_path, StandIn()) == Tally(0, 12)


@pytest.mark.parametrize(
    ("rows", "row", "field"),
    [
        ([ROWS[0], ImageRequest(prompt="fish")], 1, "prompt"),
        ([*ROWS, ImageRequest(prompt="cat", count=1001)], 4, "count"),
        ([ROWS[2], ROWS[2], ROWS[2], ROWS[2]], 3, "count"),
    ],
)
def test_a_row_that_can_not_be_drawn_is_named_before_anything_is(
    rows: list[ImageRequest], row: int, field: str
) -> None:
    with pytest.raises(RowError) as refused:
        items_of(rows, StandIn(), 20)  # type: ignore[arg-type]
    assert (refused.value.row, refused.value.field) == (row, field)


def test_a_row_that_a_server_of_more_images_would_allow_is_refused_before_it_is_accepted() -> None:
    # Or it would be accepted, and fail when it is drawn.
    many = ImageRequest(prompt="cat", count=1001)
    with pytest.raises(RowError, match="1001 images are more than 1000"):
        items_of([many], StandIn(), meant=lambda row: wanted(row, StandIn(), 2000))  # type: ignore[arg-type]
