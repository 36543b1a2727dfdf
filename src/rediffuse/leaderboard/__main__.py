"""The command `make leaderboard`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rediffuse import files
from rediffuse.errors import TryAgainError, UserError
from rediffuse.leaderboard import names
from rediffuse.leaderboard.ranking import Group, has, ranked
from rediffuse.leaderboard.runs import Run, newest_finished, read_runs
from rediffuse.leaderboard.table import Columns, csv_bytes, markdown, text
from rediffuse.workspace import Workspace

_METRIC = "fidelity.fd"
_COLUMNS = ("fidelity.precision", "fidelity.recall", "utility.cas_accuracy", "likelihood.bits_per_dim")
_NAMED = 5  # runs in a message


def main(arguments: list[str] | None = None) -> int:
    """Print the table; 0, or with a line on stderr 2 after a user's mistake and 75 where the store does not answer."""
    options = _parser().parse_args(arguments)
    try:
        for line in lines(Workspace.at(Path.cwd()), options):
            sys.stdout.write(f"{line}\n")
    except (UserError, TryAgainError) as error:
        sys.stderr.write(f"leaderboard: {' '.join(str(error).split())}\n")
        return error.exit_code
    return 0


def lines(workspace: Workspace, options: argparse.Namespace) -> list[str]:
    """What is printed; the CSV file is written.

    Raises:
        UserError: no run has the score or a column, nobody knows which way it is better, or the file can't be written.
        TryAgainError: the store does not answer.
    """
    known = read_runs(workspace)
    runs = known if options.all else newest_finished(known)
    if not runs:
        hidden = f"; --all shows {len(known)} that are not finished" if known else "; `make` makes one"
        return [f"there are no finished runs yet{hidden}"]
    metric = _found_metric(options.metric, runs)
    better = options.better or names.better_of(metric)
    if better is None:
        raise UserError(f"--better: say lower or higher; {metric} may be best near a value of its own")
    columns = Columns(metric, _found_columns(options.columns, metric, runs), status=options.all)
    groups = ranked(runs, metric, better)
    if options.csv:
        try:
            files.write_bytes(options.csv, csv_bytes(groups, columns))
        except OSError as error:
            raise UserError(f"--csv: {options.csv} can't be written: {error.strerror}") from error
    missing = [run.name for run in runs if not has(run, metric)]
    said = [f"{metric}, {better} is better; {_counted(groups)}"]
    if missing:
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        said.append(f"without {metric}: {', '.join(missing[:_NAMED])}{more}")
    # Markdown joins lines that no blank one parts.
    return ["\n\n".join([*said, markdown(groups, columns)])] if options.markdown else [*said, text(groups, columns)]


def _counted(groups: Sequence[Group]) -> str:
    count = sum(len(group.rows) for group in groups)
    return f"{count} run{'s' if count > 1 else ''}"


def _found_metric(asked: str, runs: Sequence[Run]) -> str:
    known = {name for run in runs for name in run.numbers if has(run, name)}
    metric = names.found(asked, known)
    if metric is None:
        raise UserError(
            f"--metric: no run has {asked}; there are {names.listed(asked, known)}" if known else "no run has a score"
        )
    return metric


def _found_columns(asked: str | None, metric: str, runs: Sequence[Run]) -> Sequence[str]:
    numbers = {name for run in runs for name in run.numbers}
    params = {name for run in runs for name in run.params}
    if asked is None:
        return [name for name in _COLUMNS if name in numbers and name != metric]
    found = []
    for name in names.parts(asked):
        column = names.found(name, numbers, params)
        if column is None:
            raise UserError(f"--columns: no run has {name}; there are {names.listed(name, numbers | params)}")
        found.append(column)
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m rediffuse.leaderboard", description="All finished runs of the MLflow store, best first."
    )
    parser.add_argument("--metric", default=_METRIC, help="to sort by, as metrics files nest it; default: %(default)s")
    parser.add_argument("--better", choices=(names.LOWER, names.HIGHER), help="default: known by the metric")
    parser.add_argument("--columns", metavar="A,B", help="scores and parameters to show beside it (train.lr, say)")
    parser.add_argument(
        "--all", action="store_true", help="also unfinished runs, and all of several that made the same"
    )
    parser.add_argument("--markdown", action="store_true", help="print tables in Markdown")
    parser.add_argument("--csv", metavar="FILE", type=Path, help="also write the table there, with every digit")
    return parser


if __name__ == "__main__":
    sys.exit(main())
