"""Sounds that are sent through a model: its codes found, bent, followed and led elsewhere."""
