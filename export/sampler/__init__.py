"""Instruments as sound files for samplers."""
