"""Engines that play models."""
