"""Turns events and a model into sound, without torch. Lower never imports higher: CONTRIBUTING.md has the order."""
