"""What is in the data and what became of it, as one page with pictures."""
