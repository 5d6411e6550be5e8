"""Partials family: decodes a code and a pitch to harmonics and noise bands."""
