"""Engines that play models, one folder each."""
