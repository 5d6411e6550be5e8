"""Engine of kind ``partials``: the spectrum engine with its coherent voicing."""

from ..spectrum.engine import make_engine

__all__ = ["make_engine"]
