"""The DAG's doors: `python -m stages.NAME` runs one stage of the checkout it stands in."""

import re
import sys
from pathlib import Path

# DVC runs experiments in temporary checkouts. The code under test is the one beside this file, not the one that an
# editable install points to.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))


def _name(command: list[str]) -> str:
    """The stage that a command line runs; options of Python's may stand before it, also in one word with the -m."""
    found = (re.fullmatch(r"(?:-\w*m)?stages\.(\w+)", word) for word in command)
    return next((match[1] for match in found if match), "unknown")


# What `python -m` puts there while it imports the package of the module that it is about to run. A stage imports for
# seconds, and would die of a signal meanwhile as any process does.
if sys.argv[0] == "-m":
    from rediffuse.leaving import watch_process

    watch_process(_name(sys.orig_argv))
