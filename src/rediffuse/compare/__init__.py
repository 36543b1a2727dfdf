"""The presets side by side: `python -m rediffuse.compare` runs each as a DVC experiment and writes what came out.

One file a step: `queue` runs, `experiments` reads, `scores` and `pages` write.
"""

# An experiment's name is this and its preset's.
PREFIX = "compare-"
