"""All runs of the MLflow store as one table, best first: what may be compared, and what is a difference at all.

`python -m rediffuse.leaderboard` prints it. The store is only read. Runs are set beside each other where their scores
were taken from the same data by the same protocol; within such a group a mark says whose interval overlaps the best
one's.
"""
