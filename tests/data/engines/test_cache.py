"""Results are kept by key: what is there intact is not computed again, what is damaged is, and processes share."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import shard_work as work

from rediffuse.data.cache import opened
from rediffuse.data.engines import open_engine

HERE = Path(__file__).parent
WEEK = 7 * 24 * 3600

# A stage in a process of its own.
SCRIPT = """
import sys
from functools import partial
from pathlib import Path
import shard_work
from rediffuse.data.cache import opened
from rediffuse.data.engines import open_engine

cache, calls, fatal, workers = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
with open_engine("local", workers) as engine, opened(cache) as kept:
    function = partial(shard_work.write_number_or_die, calls, fatal)
    for path in kept.results(engine, function, range(12), key=lambda number: f"n{number}"):
        print(path.name, (path / "number").read_text())
"""


def process(cache: Path, calls: Path, *, fatal: int = -1, workers: int = 1) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": f"{HERE.parents[2] / 'src'}:{HERE}"}
    command = [sys.executable, "-c", SCRIPT, cache, calls, str(fatal), str(workers)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    """A file for each item, with a byte for each time that it was computed."""
    folder = tmp_path / "calls"
    folder.mkdir()
    return folder


@pytest.fixture
def numbers(tmp_path: Path, calls: Path) -> Callable[..., list[Path]]:
    """Results for 0, 1, ... count - 1 from the cache at tmp_path / "cache"."""

    def get(count: int, workers: int = 1, **options: object) -> list[Path]:
        with open_engine("local", workers) as engine, opened(tmp_path / "cache") as cache:
            function = partial(work.write_number, calls)
            return cache.results(engine, function, range(count), key=lambda number: f"n{number}", **options)

    return get


def counted(calls: Path) -> dict[int, int]:
    return {int(file.name): file.stat().st_size for file in calls.iterdir()}


@pytest.mark.parametrize("workers", [1, 2])
def test_only_new_items_are_computed_and_each_is_told_of_once(
    numbers: Callable[..., list[Path]], calls: Path, workers: int
):
    first = numbers(3, workers)
    told: list[int] = []
    second = numbers(5, workers, done=told.append)
    assert second[:3] == first
    assert [(path / "number").read_text() for path in second] == ["0", "1", "2", "3", "4"]
    assert counted(calls) == dict.fromkeys(range(5), 1)
    assert told == [0, 1, 2, 3, 4]


def test_items_with_one_key_are_computed_once(tmp_path: Path, calls: Path):
    told: list[int] = []
    with open_engine("local", 1) as engine, opened(tmp_path / "cache") as cache:
        function = partial(work.write_number, calls)
        paths = cache.results(engine, function, [4, 6, 5], key=lambda n: ["even", "odd"][n % 2], done=told.append)
    assert paths[0] == paths[1] != paths[2]
    assert counted(calls) == {4: 1, 5: 1}
    assert sorted(told) == [4, 5, 6]


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "add"])
def test_a_damaged_result_is_computed_again(numbers: Callable[..., list[Path]], calls: Path, damage: str):
    paths = numbers(3)
    file = paths[1] / "number"
    if damage == "flip":
        file.write_text("7")
    elif damage == "truncate":
        file.write_text("")
    elif damage == "remove":
        file.unlink()
    else:
        (paths[1] / "another").write_text("")
    assert numbers(3) == paths
    assert [path.name for path in paths[1].iterdir()] == ["number"]
    assert file.read_text() == "1"
    assert counted(calls) == {0: 1, 1: 2, 2: 1}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_run_goes_on_where_it_stood(tmp_path: Path, calls: Path, workers: int):
    whole = process(tmp_path / "whole", calls).communicate()[0]
    shutil.rmtree(calls)
    calls.mkdir()
    killed = process(tmp_path / "cache", calls, fatal=7, workers=workers)
    assert killed.wait() == (-signal.SIGKILL if workers == 1 else 1)
    assert (workers == 1) or "TryAgainError" in killed.communicate()[1]
    done = {int(path.name[1:].split(".")[0]) for path in (tmp_path / "cache").glob("n*")}
    assert set(range(6)) <= done < set(range(12))
    assert len(list((tmp_path / "cache").glob(".*.part"))) >= 1

    assert process(tmp_path / "cache", calls, workers=workers).communicate()[0] == whole
    again = counted(calls)
    assert done <= {number for number, times in again.items() if times == 1}
    assert again[7] == 2
    # Nothing half done is left.
    assert len(list((tmp_path / "cache").iterdir())) == 12 + 1


def test_two_processes_share_one_cache(tmp_path: Path, calls: Path):
    both = [process(tmp_path / "cache", calls, workers=2) for _ in range(2)]
    (first, error), (second, other) = (each.communicate() for each in both)
    assert (error, other) == ("", "")
    assert first == second
    assert len(first.splitlines()) == 12
    assert len(list((tmp_path / "cache").glob("n*"))) == 12


def test_what_nothing_used_for_a_week_is_forgotten_unless_another_process_is_there(
    tmp_path: Path, numbers: Callable[..., list[Path]]
):
    paths = numbers(4)
    now = time.time()
    for path, age in zip(paths, (2 * WEEK, 2 * WEEK, WEEK - 60, WEEK + 60), strict=True):
        os.utime(path, (now - age, now - age))
    with opened(tmp_path / "cache"):
        numbers(1)
        assert all(path.is_dir() for path in paths)
    assert [path.is_dir() for path in paths] == [True, False, True, False]
