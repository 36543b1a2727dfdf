"""The DAG's doors: `python -m stages.NAME` runs one stage of the checkout it stands in."""

import sys
from pathlib import Path

# DVC runs experiments in temporary checkouts. The code under test is the one beside this file, not the one that an
# editable install points to.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

# What `python -m` puts there while it imports the package of the module that it is about to run. A stage imports for
# seconds, and would die of a signal meanwhile as any process does.
if sys.argv[0] == "-m":
    from rediffuse.leaving import watch_process

    watch_process(sys.orig_argv[sys.orig_argv.index("-m") + 1].removeprefix("stages."))
