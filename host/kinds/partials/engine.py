"""Engine for models of partials: the spectrum engine, whose coherent voicing plays partials directly."""

from ..spectrum.engine import make_engine

__all__ = ["make_engine"]
