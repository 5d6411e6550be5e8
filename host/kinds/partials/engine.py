"""The engine of models of partials: that of spectra, whose coherent voice plays partials as they are."""

from ..spectrum.engine import make_engine

__all__ = ["make_engine"]
