"""Shipped models; README.md says how each was made."""
