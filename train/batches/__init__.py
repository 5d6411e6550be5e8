"""Batches of frames and clips."""
