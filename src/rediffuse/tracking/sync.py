"""`make sync`: bring to MLflow what stages could not tell it while its server or its database was away."""

import sys
from collections.abc import Iterator
from pathlib import Path

from rediffuse.errors import TryAgainError, UserError
from rediffuse.tracking.delivery import Delivery, where
from rediffuse.tracking.journal import held, waiting
from rediffuse.tracking.store import check_uri, open_store, store_lock
from rediffuse.workspace import Workspace


def synced(workspace: Workspace) -> Iterator[str]:
    """Bring every journal that no process holds to MLflow, oldest first; a line for each.

    One that can't be told now keeps back those of its own run alone; where the store takes nothing, all of them.

    Raises:
        UserError: MLFLOW_TRACKING_URI is none of MLflow's, or the journals can't be read.
        TryAgainError: not all can be told now. What MLflow has been told stays told, and is not told again.
    """
    check_uri(workspace)
    try:
        folders = waiting(workspace)
    except OSError as error:
        raise UserError(f"{workspace.journal} can't be read: {error.strerror}") from error
    if not folders:
        yield "MLflow has all that was told: .pipeline/journal is empty"
    failed: dict[str, str] = {}
    put_off: list[str] = []
    for folder in folders:
        key = folder.name.rpartition("-")[2]
        if key in failed:
            continue
        try:
            line, late = _told(workspace, folder)
        except OSError as error:
            failed[key] = f"{folder}: {error.strerror}"
            continue
        except TryAgainError as error:
            failed[key] = str(error)
            if not _answers(workspace):
                break
            continue
        yield line
        if late:
            put_off.append(late)
    if failed or put_off:
        raise TryAgainError(
            f"MLflow at {where(workspace)} can't be told now ({'; '.join(dict.fromkeys([*failed.values(), *put_off]))})"
        )


def _told(workspace: Workspace, folder: Path) -> tuple[str, str | None]:
    """A line about a journal that was brought to MLflow, and why artifacts or lineage of it were not."""
    with held(workspace, folder) as journal:
        if journal is None:
            return f"{folder.name}: a stage that runs now writes it", None
        delivery = Delivery(journal, workspace)
        records = delivery.advance()
        run_id = journal.run_id
        if not delivery.late:
            journal.remove()
        return f"{folder.name}: {records} records to run {run_id}" if run_id else f"{folder.name}: empty", delivery.late


def _answers(workspace: Workspace) -> bool:
    try:
        with store_lock(workspace):
            open_store(workspace)
    except Exception:
        return False
    return True


def main() -> int:
    """Print a line for each journal; 0, or 2 or 75 with a line on stderr as a stage would."""
    try:
        for line in synced(Workspace.here()):
            sys.stdout.write(f"{line}\n")
    except (UserError, TryAgainError) as error:
        sys.stderr.write(f"sync: {' '.join(str(error).split())}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
