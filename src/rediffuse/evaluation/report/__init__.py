"""An evaluation as a page for people."""
