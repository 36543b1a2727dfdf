"""Case 13: plant a fault in a copy of the code, and see that a test fails; and none without it.

    python tests/faults/mutants.py [NAME ...]

Each mutant breaks one promise by one line; mutations.py lists them. The tests that guard it run in the copy: first on
the code as it is, where they must pass, then on each mutant, where one must fail. The first that fails is printed with
its reason, so that a failure of another cause shows. Ends with 1 where a mutant survives or its tests fail anyway.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from mutations import MUTANTS, Mutant

CHECKOUT = Path(__file__).parents[2]
# Of the summary that `pytest -rfE` ends with; an id may hold spaces.
_FAILED = re.compile(r"^(?:FAILED|ERROR) (?P<test>\S+?::\w+(?:\[.*?\])?)(?: - .*)?$", re.MULTILINE)


def main() -> None:
    """Try the mutants that the command line names, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="parts of their names")
    names = parser.parse_args().names
    chosen = [each for each in MUTANTS if not names or any(name in each.name for name in names)]
    if not chosen:
        sys.exit("no mutant has such a name")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        _copy_tree(copy)
        anyway = _failures(copy, sorted({test for mutant in chosen for test in mutant.tests}), first=False)
        noticed = sum(_noticed(mutant, copy, anyway) for mutant in chosen)
    _tell(f"{noticed} of {len(chosen)} mutants noticed")
    sys.exit(noticed < len(chosen))


def _copy_tree(copy: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        if (CHECKOUT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(CHECKOUT / name, copy / name)
    # Tests that make a repository of their own ask git for the files of this one.
    subprocess.run(["git", "init", "-q"], cwd=copy, check=True)


def _noticed(mutant: Mutant, copy: Path, anyway: Sequence[str]) -> bool:
    """Whether a test that passes without the mutant fails with it.

    Args:
        copy: of the checkout; as it was, afterwards.
        anyway: the lines of the tests that fail without it.
    """
    path = copy / mutant.file
    text = path.read_text(encoding="utf-8")
    if text.count(mutant.old) != 1:
        sys.exit(f"{mutant.name}: {mutant.old!r} stands {text.count(mutant.old)} times in {mutant.file}")
    spoilt = [line for line in anyway if any(f" {test}" in line for test in mutant.tests)]
    if spoilt:
        _tell(f"FAILS ANYWAY     {mutant.name}\n    {spoilt[0]}")
        return False
    begun = time.monotonic()
    path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
    failed = _failures(copy, mutant.tests, first=True)
    path.write_text(text, encoding="utf-8")
    seconds = f"{time.monotonic() - begun:4.0f} s"
    _tell(f"noticed  {seconds}  {mutant.name}\n    {failed[0]}" if failed else f"SURVIVES {seconds}  {mutant.name}")
    return bool(failed)


def _failures(copy: Path, tests: Sequence[str], *, first: bool) -> list[str]:
    """The lines that pytest ends with about what failed: FAILED or ERROR, the test, and why.

    Args:
        first: stop at the first one.
    """
    options = ["-q", "-rfE", "-p", "no:cacheprovider", "-p", "no:xdist", *(["-x"] if first else [])]
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", *options, *tests],
        cwd=copy,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "PYTEST_ADDOPTS": "", "COLUMNS": "160"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate()
    finally:
        # What a test that failed had started.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    if process.returncode not in (0, 1):
        sys.exit(f"pytest ended with {process.returncode}:\n{output}")
    if process.returncode == 0:
        return []
    return [match[0] for match in _FAILED.finditer(output)] or [output]


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
