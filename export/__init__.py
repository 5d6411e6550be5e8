"""Turns a checkpoint into a file that a host can load, and proves it."""
