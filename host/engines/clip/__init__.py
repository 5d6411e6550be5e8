"""Plays whole clips."""
