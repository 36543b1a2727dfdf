"""Scores of generated images: their distribution, their use to a classifier, and a report that shows both."""
