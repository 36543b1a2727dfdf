"""The DAG's doors: `python -m stages.NAME` runs one stage of the checkout it stands in."""

import sys
from pathlib import Path

# DVC runs experiments in temporary checkouts. The code under test is the one beside this file, not the one that an
# editable install points to.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))
