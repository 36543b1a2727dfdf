"""A stage tells how it goes: to a journal on disk, which a thread of its own brings to MLflow.

Nothing here may end a stage or make it wait: what can't be written or sent costs the tracking, with one warning, and
never the training.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rediffuse.errors import LeavingError, TryAgainError
from rediffuse.params import Params, flatten
from rediffuse.provenance.source import git_commit
from rediffuse.tracking import LAST_STAGE, Candidate, mirror
from rediffuse.tracking.journal import Journal
from rediffuse.tracking.key import content_key
from rediffuse.tracking.mlflow_run import close
from rediffuse.tracking.names import as_text, safe_name
from rediffuse.tracking.records import Artifact, Begin, End, Points, Record, Summaries, Tags
from rediffuse.tracking.registry import FOLDER
from rediffuse.tracking.sender import Sender
from rediffuse.tracking.store import check_uri, reason
from rediffuse.workspace import Workspace

# Seconds for MLflow to take the rest of a stage: for one that is slow; one that does not answer is known long before.
_AT_THE_END = 60.0
_LEAVING = 2.0  # the same where it ends before its work is done


@contextmanager
def opened_run(params: Params, workspace: Workspace, stage: str) -> Iterator["TrackedRun"]:
    """See `rediffuse.tracking.open_run`."""
    check_uri(workspace)
    run = TrackedRun(workspace, stage)
    run.begin(params)
    try:
        yield run
    except (TryAgainError, LeavingError):
        run.finish(_LEAVING)  # Interrupted, not failed: the next process goes on where this one stood.
        raise
    except BaseException as error:
        run.tell(End(status="FAILED"))
        run.finish(_AT_THE_END if isinstance(error, Exception) else _LEAVING)
        raise
    run.finish(_AT_THE_END)


class TrackedRun:
    """A `rediffuse.tracking.Run` that is kept in a journal and mirrored in MLflow."""

    def __init__(self, workspace: Workspace, stage: str) -> None:
        self._workspace = workspace
        self._stage = stage
        self._journal: Journal | None = None
        self._sender: Sender | None = None
        self._curves: dict[str, dict[int, float]] = {}
        self._started = time.monotonic()
        self._warned = False

    @property
    def id(self) -> str | None:
        """MLflow's id of the run; None before MLflow could be told of it."""
        return self._journal.run_id if self._journal else None

    def begin(self, params: Params) -> None:
        """Begin the journal, and the thread that brings it to MLflow."""
        with self._guarded():
            key = content_key(params, self._workspace)
            journal = Journal.begin(self._workspace, key)
            journal.append(_begin(params, self._workspace, self._stage, key))
            self._journal = journal
            self._sender = Sender(journal, self._workspace, key)

    def log_curve(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Add rows of "step" and values to the curves `train/<name>`; a step that a curve already has is skipped."""
        fresh = []
        for row in rows:
            for name, value in row.items():
                if name != "step":
                    known = self._curves.setdefault(f"train/{safe_name(name)}", {})
                    step = int(row["step"])
                    if step not in known or not close(known[step], value):
                        known[step] = float(value)
                        fresh.append((f"train/{safe_name(name)}", step, float(value)))
        if fresh:
            self.tell(Points(points=fresh))

    def log_timing(self, step: int, values: Mapping[str, float]) -> None:
        """Add what depends on the machine to the curves `timing/<name>`; a step that one already has is skipped."""
        timings = [(f"timing/{safe_name(name)}", step, float(value)) for name, value in values.items()]
        self.tell(Points(points=timings, repeatable=False))

    def log_image(self, name: str, png: bytes) -> None:
        """Keep a PNG as the artifact `previews/<name>`, in place of an earlier one of this name."""
        self.log_file("previews", name, png)

    def log_document(self, name: str, value: Any) -> None:
        """Keep a JSON value as the artifact `documents/<name>.json`, in place of an earlier one of this name."""
        with self._guarded():
            text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
            self.log_file("documents", f"{safe_name(name)}.json", text.encode())

    def log_file(self, folder: str, name: str, content: bytes | Path, *, table: bool = False) -> None:
        """Keep bytes, or a file as it is now, as the artifact `<folder>/<name>`, in place of an earlier one."""
        with self._guarded():
            if self._journal:
                self.tell(Artifact(folder=folder, file=self._journal.keep(name, content), table=table))

    def register(self, candidate: Candidate, write: Callable[[Path], None]) -> None:
        """Make a model a version in MLflow's registry, and its champion where it is better; a line tells which."""
        with self._guarded():
            if not self._journal:
                return
            try:
                kept = self._journal.make(FOLDER, write)
            except OSError:
                raise
            except Exception as error:
                sys.stderr.write(
                    f"warning: not registered: the model can't be written for MLflow ({reason(error)}); "
                    "`dvc repro -f -s register` tries again\n"
                )
                return
            self.tell(mirror.registration(self._workspace, candidate, kept))

    def finish_stage(self, stage: str, *, refused: bool = False) -> None:
        """Tell what the stage wrote and how long it took; the last one also tells for all before it, and ends the run.

        One whose verdict is `refused` is the last one, too, as no other follows; `opened_run` makes its run FAILED.

        DVC restores a stage it has run before from its cache, and then no process tells of it. So the last stage goes
        through all it depends on, and what is missing is added.
        """
        with self._guarded():
            self.tell(Summaries(values={f"timing/{stage}_seconds": time.monotonic() - self._started}))
            self.tell(Tags(values={f"stage.{stage}": "ran"}))
            mirror.tell_outputs_of(self, self._workspace, stage, with_upstream=refused or stage == LAST_STAGE)
            if stage == LAST_STAGE and not refused:
                self.tell(End(status="FINISHED", tags={"rediffuse.finished": stage}))

    def tell(self, record: Record) -> None:
        """Add a record to the journal, for MLflow to be told soon or later."""
        with self._guarded():
            if self._journal:
                self._journal.append(record)
            if self._sender:
                self._sender.wake()

    def finish(self, seconds: float) -> None:
        """Give MLflow so many seconds for the rest."""
        if self._sender:
            self._sender.finish(seconds)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Whatever goes wrong inside (a full disk, say) costs the tracking, never the stage."""
        try:
            yield
        except Exception as error:
            if not self._warned:
                self._warned = True
                sys.stderr.write(
                    f"warning: what stage {self._stage} tells can't be kept in {self._workspace.journal} "
                    f"({reason(error)}); the run in MLflow will lack it\n"
                )


def _begin(params: Params, workspace: Workspace, stage: str, key: str) -> Begin:
    """That this stage begins, here and now."""
    experiment = os.environ.get("DVC_EXP_NAME")
    commit = git_commit(workspace.root)
    tags = {f"runtime.{name}": as_text(value) for name, value in params.runtime.model_dump().items()}
    tags |= {"rediffuse.stage": stage, "dvc.root": str(workspace.home.absolute())}
    tags |= {"mlflow.source.git.commit": commit} if commit else {}
    tags |= {"dvc.experiment": experiment} if experiment else {}
    return Begin(
        key=key,
        name=f"{params.prepare.source}-{params.model.name}-{params.diffusion.process}-{key[:8]}",
        experiment=experiment,
        params={safe_name(name): as_text(value) for name, value in flatten(params.tracked()).items()},
        tags=tags,
    )
