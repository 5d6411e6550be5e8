"""The classifier family: report."""
