"""A journal brought to MLflow, from where it got to last time; what fails is tried again from there."""

import sys
from collections.abc import Iterator
from typing import NoReturn

from mlflow.exceptions import MlflowException

from rediffuse.errors import TryAgainError
from rediffuse.tracking.journal import Journal, Line
from rediffuse.tracking.mlflow_run import METRICS_A_BATCH, MlflowRun
from rediffuse.tracking.records import Artifact, Begin, Data, Points, Registration, Told, Weights
from rediffuse.tracking.refusals import is_refused
from rediffuse.tracking.store import Store, check_file, open_store, reason, store_lock, tracking_uri, without_secrets
from rediffuse.workspace import Workspace


class Delivery:
    """Brings one journal to MLflow.

    Args:
        journal: held by this process.
        workspace: whose store takes it.
    """

    def __init__(self, journal: Journal, workspace: Workspace) -> None:
        self.journal = journal
        self.late: str | None = None  # why MLflow still lacks an artifact or the lineage, where it has all else
        self._workspace = workspace
        self._run: MlflowRun | None = None

    def advance(self) -> int:
        """Tell MLflow all that the journal holds by now and MLflow has not; the number of records is returned.

        An artifact, lineage or registration that can't be told now (its store is away, or lacks a package) is put off,
        and holds nothing else back; `late` then says why. What MLflow will never take is left out, with a warning.

        Raises:
            TryAgainError: MLflow could not be told; the message says why, and shows no password.
        """
        journal, records = self.journal, 0
        self.late = None
        try:
            if self._run:
                check_file(self._workspace)
            for batch in _batches(journal.unsent()):
                late = [] if self._is_told(batch) else [line.start for line in batch]
                run_id = self._run.id if self._run else journal.run_id
                journal.note_sent(batch[-1].end, run_id, [*journal.late, *late])
                records += sum(line.told is not None for line in batch) - len(late)
            for line in [] if self.late else list(journal.put_off()):
                if self._is_told([line]):
                    journal.note_sent(
                        journal.sent, journal.run_id, [late for late in journal.late if late != line.start]
                    )
                    records += 1
        except _NoBeginningError:
            sys.stderr.write(
                f"warning: {journal.folder} has no beginning that can be read (it is damaged, or of another version), "
                "so MLflow can't be told of it; it is dropped\n"
            )
            journal.note_sent((journal.folder / "records.jsonl").stat().st_size, None)
        except Exception as error:
            # What it knew of the run may be half told.
            self._run = None
            raise TryAgainError(reason(error)) from error
        return records

    def _is_told(self, lines: list[Line], *, again: bool = False) -> bool:
        """Tell them; False: they are to be told later, which only ever an artifact, lineage or registration is."""
        told = [line.told for line in lines if line.told]
        if not told:
            return True
        aside = isinstance(told[0].record, Artifact | Data | Weights | Registration)
        # Behind those put off before: each may take its time, and a later file replaces an earlier one of its name.
        if aside and (self.late or (self.journal.late and lines[0].start >= self.journal.sent)):
            return False
        self._run = run = self._run or self._opened(told[0])
        try:
            run.tell(told)
        except Exception as error:
            refused = is_refused(error)
            if not (refused or aside):
                raise
            if not _is_there(run.store, run.id):
                self._begin_anew()
            # Where it takes nothing at all now (the right to write is missing, say), the records are not to blame.
            run.check_taken()
            # What this one knew of it may be half told.
            self._run = MlflowRun(run.store, run.id, self.journal.folder)
            if not refused:
                self.late = reason(error)
                return False
            # A database also calls it a bad request where two processes tell of one run at the same moment.
            if not again:
                return self._is_told(lines, again=True)
            if len(lines) > 1:
                for line in lines:
                    self._is_told([line])
                return True
            # A record that no store will ever take must not keep back all that come after it.
            kind = type(told[0].record).__name__.lower()
            sys.stderr.write(f"warning: MLflow refuses a record ({kind}: {reason(error)}); it is left out\n")
        for each in told:
            self.journal.forget_file(each.record)
        return True

    def _opened(self, first: Told) -> MlflowRun:
        """The run in the store, as far as the journal is told; found or made where nothing is told yet."""
        journal = self.journal
        # Held also over the search: two processes with one key make one run.
        with store_lock(self._workspace):
            store = open_store(self._workspace)
            if isinstance(first.record, Begin):
                return MlflowRun.begun(store, first.record, first.at, journal.folder)
        if not journal.run_id:
            raise _NoBeginningError
        if _is_there(store, journal.run_id):
            return MlflowRun(store, journal.run_id, journal.folder)
        self._begin_anew()

    def _begin_anew(self) -> NoReturn:
        """Somebody deleted the run: all is told again, to a new one, at the next try."""
        self.journal.note_sent(0, None)
        raise TryAgainError("the run was deleted while it was told")


class _NoBeginningError(Exception):
    """Nothing tells which run the records belong to."""


def where(workspace: Workspace) -> str:
    """The store, fit for a message."""
    return without_secrets(tracking_uri(workspace))


def _is_there(store: Store, run_id: str) -> bool:
    try:
        return bool(store.client.get_run(run_id).info.lifecycle_stage == "active")
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise


def _batches(lines: Iterator[Line]) -> Iterator[list[Line]]:
    """Each line alone, but points together up to what MLflow takes at once."""
    batch: list[Line] = []
    points = 0
    for line in lines:
        record = line.told.record if line.told else None
        size = len(record.points) if isinstance(record, Points) else 0
        if batch and (not size or points + size > METRICS_A_BATCH):
            yield batch
            batch, points = [], 0
        batch.append(line)
        points += size
        if not size:
            yield batch
            batch = []
    if batch:
        yield batch
