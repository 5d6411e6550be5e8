"""Trains networks: all that needs a gradient, or prepares data for one."""
