"""Ray Data gives what the local pool gives, in its order, and fails as it fails."""

import signal
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import shard_work as work

from rediffuse.data.cache import opened
from rediffuse.data.engines import Engine, open_engine
from rediffuse.errors import TryAgainError, UserError
from tests.data.planted import contents


@pytest.fixture(scope="module")
def ray() -> Iterator[Engine]:
    """One cluster for all tests: it takes 10 s to start."""
    pytest.importorskip("ray.data", reason="the extra ray is not installed")
    with pytest.MonkeyPatch.context() as environment, open_engine("ray", 2) as engine:
        environment.delenv("RAY_ADDRESS", raising=False)
        yield engine


def test_both_engines_write_the_same_bytes_in_the_same_order(ray: Engine, tmp_path: Path):
    written = {}
    (tmp_path / "calls").mkdir()
    with open_engine("local", 2) as local:
        for name, engine in (("local", local), ("ray", ray)):
            with opened(tmp_path / name) as cache:
                function = partial(work.write_number, tmp_path / "calls")
                paths = cache.results(engine, function, range(12), key=lambda number: f"n{11 - number}")
            assert [(path / "number").read_text() for path in paths] == [str(n) for n in range(12)]
            written[name] = contents(tmp_path / name)
    assert written["local"] == written["ray"]
    assert [path.stat().st_size for path in (tmp_path / "calls").iterdir()] == [2] * 12


def test_a_worker_of_ray_has_one_thread(ray: Engine):
    assert {threads for _, threads, _ in ray.map(work.environment, range(4))} == {"1"}
    assert list(ray.map(work.square, [])) == []


def test_ray_leaves_sigterm_to_its_user(ray: Engine):
    assert list(ray.map(work.square, [2])) == [4]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_an_exception_crosses_ray_as_itself(ray: Engine, capfd: pytest.CaptureFixture[str]):
    with pytest.raises(UserError) as caught:
        list(ray.map(work.refuse, range(10)))
    assert (type(caught.value), str(caught.value)) == (UserError, "item 3 can't be used")
    assert list(ray.map(work.square, range(4))) == [0, 1, 4, 9]
    assert capfd.readouterr() == ("", "")


def test_a_task_that_kills_its_worker_is_not_tried_for_ever(ray: Engine):
    with pytest.raises(TryAgainError, match="a worker of Ray was killed 3 times, perhaps for lack of memory"):
        list(ray.map(work.die, range(10)))


def test_without_ray_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"runtime\.engine is ray, .* pip install 'rediffuse\[ray\]'"):
        open_engine("ray", 2)


@pytest.mark.parametrize("error", [ConnectionError("nobody there"), RuntimeError("a version of its own")])
def test_a_ray_that_does_not_start_leaves_the_signals_as_they_were(monkeypatch: pytest.MonkeyPatch, error: Exception):
    def init(**_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise error

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=init))
    monkeypatch.setitem(sys.modules, "ray.data", SimpleNamespace(TaskPoolStrategy=None))
    before = signal.getsignal(signal.SIGTERM)
    try:
        with open_engine("ray", 2) as engine, pytest.raises((UserError, RuntimeError)):
            list(engine.map(int, ["1"]))
        assert signal.getsignal(signal.SIGTERM) == before
    finally:
        signal.signal(signal.SIGTERM, before)
