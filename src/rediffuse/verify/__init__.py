"""Whether the same bytes come out: in a rerun, in another clone, in an MLflow run; and if not, what differs first.

`python -m rediffuse.verify` is the command; `comparison` is all it knows of what explains a difference.
"""
