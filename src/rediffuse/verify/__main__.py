"""The command `make verify`."""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from rediffuse.errors import LeavingError, UserError
from rediffuse.leaving import watched
from rediffuse.verify.comparison import Verdict, compare
from rediffuse.verify.rerun import rerun
from rediffuse.verify.sides import in_order, of_clone, of_run, unmatched
from rediffuse.workspace import Workspace

_GRACE = 30.0  # seconds


def main(arguments: list[str] | None = None) -> None:
    """Say whether the outs are the same, and exit with 0; with 1 where one differs.

    With 2 after a user's mistake, and with 75 after a signal.
    """
    options = _parser().parse_args(arguments)
    workspace = Workspace.at(Path.cwd())
    try:
        # With a grace that is longer than that of what a rerun starts, to remove its folder behind it.
        with watched("verify", grace=_GRACE):
            if options.clone is not None:
                verdict = against_clone(workspace, options.clone)
            elif options.run is not None:
                verdict = against_run(workspace, options.run)
            else:
                verdict = against_rerun(workspace, options.stage)
    except UserError as error:
        sys.stderr.write(f"verify: {' '.join(str(error).split())}\n")
        sys.exit(error.exit_code)
    except LeavingError as error:
        sys.stderr.write(f"verify: {str(error).partition(';')[0]}; nothing was compared\n")
        sys.exit(error.exit_code)
    for line in verdict.lines:
        _say(line)
    if not verdict.same:
        _say("verify: NOT the same bytes")  # make says no more than that the command failed
    sys.exit(0 if verdict.same else 1)


def against_clone(workspace: Workspace, clone: Path) -> Verdict:
    """Compare this clone's dvc.lock with another clone's.

    Raises:
        UserError: one of them is no clone, or has no dvc.lock.
    """
    other = Workspace.at(clone)
    here, there = of_clone(workspace), of_clone(other)
    for side in (workspace, other):
        _say_unmatched(side)
    return compare(here, there, in_order(workspace, here.keys() | there.keys()))


def against_run(workspace: Workspace, run_id: str) -> Verdict:
    """Compare this clone's dvc.lock with what an MLflow run logged; the outs that the run does not list are left out.

    Raises:
        UserError: there is no dvc.lock or no such run.
    """
    here, there = of_run(workspace, run_id, of_clone(workspace))
    _say_unmatched(workspace)
    return compare(here, there, in_order(workspace, here))


def against_rerun(workspace: Workspace, stage: str | None) -> Verdict:
    """Make everything again in a temporary folder, or a stage and what follows; the folder stays where an out differs.

    Raises:
        UserError: there is no dvc.lock, or the pipeline can't be run again.
    """
    here = of_clone(workspace)
    _say_unmatched(workspace)
    folder = Path(tempfile.mkdtemp(prefix="rediffuse-verify-"))
    kept = False
    try:
        copy, again = rerun(workspace, folder, here, first=stage, say=_say)
        verdict = compare(here, of_clone(copy), again)
        kept = not verdict.same
    finally:
        if not kept:
            shutil.rmtree(folder, ignore_errors=True)
    return Verdict(verdict.same, (*verdict.lines, f"the rerun lies in {copy.root}")) if kept else verdict


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m rediffuse.verify",
        description="Make everything again in a temporary folder (TMPDIR says where), and compare every out's MD5.",
    )
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--stage", metavar="NAME", help="make only this stage again, and those that read from it")
    ways.add_argument("--with", dest="clone", metavar="PATH", type=Path, help="compare with another clone; run nothing")
    ways.add_argument("--run", metavar="ID", help="compare with an MLflow run; run nothing")
    return parser


def _say_unmatched(side: Workspace) -> None:
    for line in unmatched(side):
        _say(f"{line} ({side.root})")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
