"""Matplotlib pictures of reports: frames, grains and clips."""
