"""A server's jobs: none that was accepted is lost, each is drawn by the model that it was accepted with."""

import errno
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest

from rediffuse import files
from rediffuse.errors import TryAgainError, UserError
from rediffuse.serving.batching import BusyError
from rediffuse.serving.jobs import folder as job_folder
from rediffuse.serving.jobs.items import items_of
from rediffuse.serving.jobs.runner import Jobs
from rediffuse.serving.jobs.state import JobLimits, JobState, TooManyJobsError
from rediffuse.serving.jobs.store import JobStore
from rediffuse.serving.request import ImageRequest
from tests.serving.jobs.stand_in import StandIn
from tests.serving.jobs.test_folder import ROWS, contents, draw

RETRY = JobLimits(retry=0.01)


class Ticket:
    def __init__(self) -> None:
        self._future: Future[Any] = Future()
        self.cancel = self._future.cancel
        self.result = self._future.result
        self.give = self._future.set_result


class Drawing:
    """A batcher that draws as many batches as it is let, at once; then those who ask wait."""

    def __init__(self, batches: int = 10**6, busy: int = 0) -> None:
        self.left, self.busy, self.asked = batches, busy, Event()

    def submit(self, answers: Any, wanted: Sequence[Any], *, patience: float, background: bool) -> Ticket:
        assert background
        if self.busy:
            self.busy -= 1
            raise BusyError(9, 0.001)
        ticket = Ticket()
        if self.left:
            self.left -= 1
            ticket.give(answers.images(wanted))
        else:
            self.asked.set()
        return ticket


class Served:
    """Models of which one is current and the others have versions."""

    def __init__(self, current: str | None, **versions: StandIn) -> None:
        self.versions, self.version = versions, current

    def current(self) -> Any:
        return self._of(self.version or "none", self.version)

    def named(self, version: str) -> Any:
        return self._of(version, version)

    def _of(self, key: str, version: str | None) -> Any:
        return SimpleNamespace(name="digits", version=version, answers=self.versions[key])


@contextmanager
def server(root: Path, models: Served, batcher: Drawing | None = None, limits: JobLimits = RETRY) -> Iterator[Jobs]:
    jobs = Jobs(JobStore(root), models, batcher or Drawing(), at_once=3, limits=limits)  # type: ignore[arg-type]
    with closing(jobs):
        jobs.start()
        yield jobs


def accept(jobs: Jobs, models: Served, rows: Sequence[ImageRequest] = ROWS) -> str:
    served = models.current()
    return jobs.accept(rows, items_of(rows, served.answers), served).id


def until(jobs: Jobs, job: str, right: Callable[[JobState | None], bool]) -> JobState | None:
    for _ in range(6000):
        state = jobs.state(job)
        if right(state):
            return state
        time.sleep(0.01)
    raise AssertionError(f"never; now it is {state}")


def ended(jobs: Jobs, job: str) -> tuple[str, int, int, str | None]:
    state = until(jobs, job, lambda state: state is not None and state.state in ("done", "failed"))
    assert state
    return state.state, state.done, state.of, state.error


@pytest.mark.parametrize("batches", [0, 1, 3, 7])
def test_a_server_that_ends_at_any_batch_loses_no_job_and_no_byte(tmp_path: Path, batches: int) -> None:
    draw(tmp_path / "alone", StandIn())
    models, batcher = Served(None, none=StandIn()), Drawing(batches)
    with server(tmp_path / "jobs", models, batcher) as jobs:
        first, second = accept(jobs, models), accept(jobs, models, ROWS[:1])
        assert batcher.asked.wait(60)
    with server(tmp_path / "jobs", models) as jobs:
        assert ended(jobs, second) == ("done", 3, 3, None)
        assert ended(jobs, first) == ("done", 12, 12, None)
        assert contents(tmp_path / "jobs" / first / "out") == contents(tmp_path / "alone")
        assert jobs.image(first, 4) == (tmp_path / "alone" / "000001-001.png").read_bytes()
        assert jobs.image(first, 12) is None
        assert jobs.manifest(first) == (tmp_path / "alone" / "manifest.csv").read_bytes()
    with server(tmp_path / "jobs", models, Drawing(0)) as jobs:
        assert ended(jobs, first) == ("done", 12, 12, None)


def test_jobs_are_drawn_in_the_order_of_acceptance_also_by_another_server(tmp_path: Path) -> None:
    models = Served(None, none=StandIn())
    with server(tmp_path, models, Drawing(0)) as jobs:
        accepted = [accept(jobs, models, [ImageRequest(prompt="cat", seed=seed)]) for seed in range(5)]
        assert [jobs.state(each).state for each in accepted[1:]] == ["waiting"] * 4  # type: ignore[union-attr]
    model = models.versions["none"]
    with server(tmp_path, models, Drawing(busy=3)) as jobs:
        assert ended(jobs, accepted[-1])[0] == "done"
    assert [each.origin.seed for each in model.drawn] == [0, 1, 2, 3, 4]


def test_a_job_keeps_its_model_when_another_takes_its_place_or_fails_with_a_line(tmp_path: Path) -> None:
    old, new = StandIn("a" * 64), StandIn("b" * 64)
    models = Served("1", **{"1": old})
    with server(tmp_path, models, Drawing(0)) as jobs:
        first, second = accept(jobs, models), accept(jobs, models)
    models.versions, models.version = {"1": old, "2": new}, "2"
    batcher = Drawing(7)
    with server(tmp_path, models, batcher) as jobs:
        assert ended(jobs, first) == ("done", 12, 12, None)
        assert b"b" * 64 not in (jobs.manifest(first) or b"b" * 64)
        assert batcher.asked.wait(60)
    del models.versions["1"]
    with server(tmp_path, models) as jobs:
        error = f"the model that this job was accepted with (digits version 1, {'a' * 64}) is not served any more"
        assert ended(jobs, second) == ("failed", 0, 12, error)
        assert ended(jobs, accept(jobs, models))[0] == "done"
    # A file of weights has no version.
    models = Served(None, none=old)
    with server(tmp_path / "file", models, Drawing(0)) as jobs:
        first = accept(jobs, models)
    with server(tmp_path / "file", Served(None, none=new)) as jobs:
        assert str(ended(jobs, first)[3]).endswith(f"is not served any more: it is {'b' * 64} now")
    with server(tmp_path / "file", Served(None, none=StandIn(grid="uniform"))) as jobs:
        assert ended(jobs, first)[0] == "failed"


def test_settings_that_no_request_can_name_are_kept_as_well(tmp_path: Path) -> None:
    models = Served(None, none=StandIn())
    with server(tmp_path, models, Drawing(0)) as jobs:
        job = accept(jobs, models)
    with server(tmp_path, Served(None, none=StandIn(grid="uniform"))) as jobs:
        assert "sampling.grid: 'karras' there, 'uniform' here" in str(ended(jobs, job)[3])


def test_a_removed_job_is_gone_whatever_it_was_doing_and_the_next_one_is_drawn(tmp_path: Path) -> None:
    models, batcher = Served(None, none=StandIn()), Drawing(1)
    with server(tmp_path, models, batcher) as jobs:
        drawn, waiting, last = (accept(jobs, models) for _ in range(3))
        assert batcher.asked.wait(60)
        assert jobs.remove(waiting)
        assert jobs.state(waiting) is None
        batcher.left = 100
        assert jobs.remove(drawn)
        until(jobs, drawn, lambda state: state is None)
        assert ended(jobs, last)[0] == "done"
        assert jobs.remove(last)
        assert [jobs.remove(each) for each in (drawn, waiting, last, "../..", "0" * 32)] == [False] * 5
        assert [jobs.image("..", 0), jobs.manifest(".."), jobs.state("..")] == [None] * 3
    assert list(tmp_path.iterdir()) == []


def test_a_job_that_was_cancelled_by_a_server_that_was_killed_is_not_gone_on_with(tmp_path: Path) -> None:
    models = Served(None, none=StandIn())
    with server(tmp_path, models, Drawing(0)) as jobs:
        job = accept(jobs, models)
    files.write_json(tmp_path / job / "ended.json", {"state": "cancelled", "error": None})
    (tmp_path / f".new-{'1' * 32}").mkdir()
    with server(tmp_path, models) as jobs:
        assert jobs.state(job) is None
        assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_waited_for_and_an_error_is_the_jobs_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    models, write = Served(None, none=StandIn()), job_folder._put
    full = Event()

    def nearly_full(path: Path, content: bytes) -> None:
        if path.name == "000002-003.png" and not full.is_set():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write(path, content)

    monkeypatch.setattr(job_folder, "_put", nearly_full)
    with server(tmp_path, models) as jobs:
        job = accept(jobs, models)
        until(jobs, job, lambda state: state is not None and "No space left on device" in str(state.error))
        full.set()
        assert ended(jobs, job) == ("done", 12, 12, None)

        def broken(wanted: Any) -> Any:
            raise ZeroDivisionError("secret")

        models.versions["none"].images = broken  # type: ignore[method-assign]
        monkeypatch.setattr(Drawing, "submit", lambda self, answers, wanted, **_: answers.images(wanted))
        job = accept(jobs, models)
        assert ended(jobs, job) == ("failed", 0, 12, "ZeroDivisionError while it was drawn; the server's log has more")
    assert "ZeroDivisionError: secret" in capsys.readouterr().err


def test_a_job_whose_model_can_not_be_had_now_waits_and_can_be_cancelled(tmp_path: Path) -> None:
    models = Served("1", **{"1": StandIn("a" * 64), "2": StandIn("b" * 64)})
    with server(tmp_path, models, Drawing(0)) as jobs:
        first, second = accept(jobs, models), accept(jobs, models)
    models.version, tries = "2", 0

    def away(_: str) -> Any:
        nonlocal tries
        tries += 1
        raise TryAgainError("the registry is away")

    found, models.named = models.named, away  # type: ignore[method-assign]
    with server(tmp_path, models) as jobs:
        until(jobs, first, lambda state: state is not None and state.error == "the registry is away")
        assert jobs.remove(first)
        until(jobs, first, lambda state: state is None)
        assert tries < 100
        models.named = found  # type: ignore[method-assign]
        assert ended(jobs, second) == ("done", 12, 12, None)


def test_a_full_disk_accepts_no_job_and_lets_one_be_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models, batcher = Served(None, none=StandIn()), Drawing(1)
    with server(tmp_path, models, batcher) as jobs:
        job = accept(jobs, models)
        assert batcher.asked.wait(60)

        def full(*_: Any) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(files, "write_bytes", full)
        with pytest.raises(TryAgainError, match="can't be kept: No space left"):
            accept(jobs, models)
        assert jobs.remove(job)
        until(jobs, job, lambda state: state is None)
        assert jobs.states() == []
    assert list(tmp_path.iterdir()) == []


def test_what_can_not_be_read_is_told_and_never_taken_for_an_empty_job(tmp_path: Path) -> None:
    models = Served(None, none=StandIn())
    with server(tmp_path, models, Drawing(0)) as jobs:
        job = accept(jobs, models)
    (tmp_path / job / "out" / "job.json").unlink()
    with server(tmp_path, models) as jobs:
        assert ended(jobs, job) == ("failed", 0, 12, "the rows of this job are gone: there is no job.json")
    (tmp_path / ".new-file").write_text("")
    with pytest.raises(UserError, match="can't hold jobs: Not a directory"), server(tmp_path, models):
        pass
    (tmp_path / ".new-file").unlink()
    (tmp_path / job / "ended.json").write_text("[]")
    with pytest.raises(UserError, match="can't be read"), server(tmp_path, models):
        pass


def test_no_more_is_accepted_than_may_wait_or_be_kept_and_no_second_server(tmp_path: Path) -> None:
    models = Served(None, none=StandIn())
    with server(tmp_path, models, Drawing(0), JobLimits(waiting=2, kept=3)) as jobs:
        accept(jobs, models), accept(jobs, models)
        with pytest.raises(TooManyJobsError, match="2 jobs wait already; at most 2 may"):
            accept(jobs, models)
        with pytest.raises(UserError, match="in use by another server"), server(tmp_path, models):
            pass
    with server(tmp_path, models, limits=JobLimits(waiting=2, kept=3)) as jobs:
        last = accept(jobs, models) if until_room(jobs) else ""
        assert ended(jobs, last)[0] == "done"
        with pytest.raises(TooManyJobsError, match="there are 3 jobs, as many as are kept; delete some first"):
            accept(jobs, models)
    assert len(list(tmp_path.iterdir())) == 3


def until_room(jobs: Jobs) -> bool:
    """Wait until no job waits."""
    for known in list(jobs._jobs):
        ended(jobs, known)
    return True
