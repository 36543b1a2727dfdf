"""The report's figures, each drawn from its table alone."""
