"""Plays successive frames, each predicted from the last."""
