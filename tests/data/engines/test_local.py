"""A pool of processes: the same results, in order, with bounds, and no process that outlives its use."""

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import shard_work as work

from rediffuse.data.engines import open_engine
from rediffuse.errors import TryAgainError, UserError

HERE = Path(__file__).parent


def gone(pid: int, seconds: float = 5) -> bool:
    """Whether a process ends within so many seconds; a zombie has ended."""
    for _ in range(int(seconds * 50)):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_items_and_a_second_map_uses_the_same_processes(workers: int):
    with open_engine("local", workers) as engine:
        assert list(engine.map(work.square, range(20))) == [n * n for n in range(20)]
        assert list(engine.map(work.square, [])) == []
        first, second = ({pid for pid, *_ in engine.map(work.environment, range(8))} for _ in range(2))
    assert (first | second == {os.getpid()}) == (workers == 1)
    assert len(first | second) <= workers


def test_a_function_that_cant_be_imported_is_no_reason_to_try_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "only_here.py").write_text("def function(item): return item")
    monkeypatch.syspath_prepend(tmp_path)
    function = importlib.import_module("only_here").function
    (tmp_path / "only_here.py").unlink()
    with open_engine("local", 2) as engine, pytest.raises(ModuleNotFoundError, match="only_here"):
        list(engine.map(function, range(4)))


def test_a_worker_has_one_thread_and_leaves_ctrl_c_to_its_parent(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with open_engine("local", 2) as engine:
        for _, threads, ignores in engine.map(work.environment, range(4)):
            assert (threads, ignores) == ("1", True)
    assert (os.environ["OMP_NUM_THREADS"], "MKL_NUM_THREADS" in os.environ) == ("7", False)
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, set())


def test_no_more_than_two_items_a_worker_are_begun_before_a_result_is_taken(tmp_path: Path):
    with open_engine("local", 2) as engine:
        results = engine.map(partial(work.write_begun, tmp_path), range(50))
        assert list(tmp_path.iterdir()) == []
        assert [next(results), next(results)] == [0, 1]
        time.sleep(0.3)
        # Two are out; the place of the second is filled when the third is asked for.
        assert sorted(int(path.name) for path in tmp_path.iterdir()) == list(range(6))


@pytest.mark.parametrize("workers", [1, 2])
def test_an_exception_crosses_as_itself_and_what_waits_is_not_begun(tmp_path: Path, workers: int):
    with open_engine("local", workers) as engine:
        results = engine.map(work.refuse, range(1000))
        assert [next(results) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(UserError, match=r"^item 3 can't be used$"):
            next(results)
        assert list(results) == []
        assert list(engine.map(work.square, range(4))) == [0, 1, 4, 9]


def test_a_killed_worker_is_reason_to_try_again():
    with open_engine("local", 2) as engine:
        with pytest.raises(TryAgainError, match="a worker was killed, perhaps for lack of memory"):
            list(engine.map(work.die, range(10)))
        assert list(engine.map(work.square, range(4))) == [0, 1, 4, 9]


def test_an_abandoned_map_ends_its_workers_at_once(tmp_path: Path):
    start = time.monotonic()
    with contextlib.suppress(KeyboardInterrupt), open_engine("local", 2) as engine:
        results = engine.map(partial(work.write_begun_and_wait, tmp_path), range(4))
        signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
        signal.setitimer(signal.ITIMER_REAL, 2)
        next(results)
    assert time.monotonic() - start < 20
    pids = [int(path.read_text()) for path in tmp_path.iterdir()]
    assert len(pids) == 2
    assert all(gone(pid) for pid in pids)


def test_no_worker_outlives_a_parent_killed_with_9(tmp_path: Path):
    script = (
        "from functools import partial\nfrom pathlib import Path\n"
        "import shard_work\nfrom rediffuse.data.engines import open_engine\n"
        "with open_engine('local', 2) as engine:\n"
        f"    list(engine.map(partial(shard_work.write_begun_and_wait, Path({str(tmp_path)!r})), range(10)))\n"
    )
    environment = os.environ | {"PYTHONPATH": f"{HERE.parents[2] / 'src'}:{HERE}"}
    with subprocess.Popen([sys.executable, "-c", script], env=environment, stderr=subprocess.DEVNULL) as parent:
        while len(list(tmp_path.iterdir())) < 2:
            assert parent.poll() is None
            time.sleep(0.02)
        time.sleep(0.1)
        pids = [int(path.read_text()) for path in tmp_path.iterdir()]
        assert not any(gone(pid, 0.1) for pid in pids)
        parent.kill()
    assert all(gone(pid) for pid in pids)
