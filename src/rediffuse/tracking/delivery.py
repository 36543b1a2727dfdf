"""A journal brought to MLflow, from where it got to last time; what fails is tried again from there."""

import sys
from collections.abc import Iterator
from typing import NoReturn

from mlflow.exceptions import MlflowException

from rediffuse.errors import TryAgainError
from rediffuse.tracking.journal import Journal, Line
from rediffuse.tracking.mlflow_run import METRICS_A_BATCH, MlflowRun
from rediffuse.tracking.records import Begin, Points, Told
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
        self._workspace = workspace
        self._run: MlflowRun | None = None

    def advance(self) -> int:
        """Tell MLflow all that the journal holds by now and MLflow has not; the number of records is returned.

        Raises:
            TryAgainError: MLflow could not be told; the message says why, and shows no password.
        """
        records = 0
        try:
            if self._run:
                check_file(self._workspace)
            for batch in _batches(self.journal.unsent()):
                told = [line.told for line in batch if line.told]
                if told:
                    self._tell(told)
                self.journal.note_sent(batch[-1].end, self._run.id if self._run else self.journal.run_id)
                records += len(told)
        except Exception as error:
            # What it knew of the run may be half told.
            self._run = None
            raise TryAgainError(reason(error)) from error
        return records

    def _tell(self, told: list[Told]) -> None:
        self._run = run = self._run or self._opened(told[0])
        try:
            run.tell(told)
        except MlflowException as error:
            if error.error_code not in {"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"}:
                raise
            if not _is_there(run.store, run.id):
                self._begin_anew()
            if error.error_code != "INVALID_PARAMETER_VALUE":
                raise
            # A record that no store will ever take must not keep back all that come after it.
            kind = type(told[0].record).__name__.lower()
            sys.stderr.write(f"warning: MLflow refuses a record ({kind}: {reason(error)}); it is left out\n")
        for each in told:
            self.journal.forget_file(each.record)

    def _opened(self, first: Told) -> MlflowRun:
        """The run in the store, as far as the journal is told; found or made where nothing is told yet."""
        journal = self.journal
        # Held also over the search: two processes with one key make one run.
        with store_lock(self._workspace):
            store = open_store(self._workspace)
            if isinstance(first.record, Begin):
                return MlflowRun.begun(store, first.record, first.at, journal.folder)
        if journal.run_id and _is_there(store, journal.run_id):
            return MlflowRun(store, journal.run_id, journal.folder)
        self._begin_anew()

    def _begin_anew(self) -> NoReturn:
        """Somebody deleted the run: all is told again, to a new one, at the next try."""
        self.journal.note_sent(0, None)
        raise TryAgainError("the run was deleted while it was told")


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
