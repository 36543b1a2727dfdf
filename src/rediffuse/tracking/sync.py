"""`make sync`: bring to MLflow what stages could not tell it while its server or its database was away."""

import sys
from collections.abc import Iterator

from rediffuse.errors import TryAgainError, UserError
from rediffuse.tracking.delivery import Delivery, where
from rediffuse.tracking.journal import held, waiting
from rediffuse.tracking.store import check_uri
from rediffuse.workspace import Workspace


def synced(workspace: Workspace) -> Iterator[str]:
    """Bring every journal that no process holds to MLflow, oldest first; a line for each.

    Raises:
        UserError: MLFLOW_TRACKING_URI is none of MLflow's.
        TryAgainError: MLflow can't be told now. What it has been told stays told, and is not told again.
    """
    check_uri(workspace)
    folders = waiting(workspace)
    if not folders:
        yield "MLflow has all that was told: .pipeline/journal is empty"
    for folder in folders:
        with held(workspace, folder) as journal:
            if journal is None:
                yield f"{folder.name}: a stage that runs now writes it"
                continue
            try:
                records = Delivery(journal, workspace).advance()
            except TryAgainError as error:
                raise TryAgainError(f"MLflow at {where(workspace)} can't be told now ({error})") from error
            run_id = journal.run_id
            journal.remove()
            yield f"{folder.name}: {records} records to run {run_id}" if run_id else f"{folder.name}: empty"


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
