"""The preset tables of all of timbrel's kinds, and of a package's kind."""

from .clip import ClipSections
from .grain import GrainSections
from .spectrum import GestureSections
from .stream import StreamSections


# pydantic reads bases from the last on: the tables come in the order of their names.
class Sections(StreamSections, GrainSections, GestureSections, ClipSections):
    """Tables that presets have beside those of all kinds."""
