"""First presets and demos of spectra."""

from ....host.contract.model import Model
from ....host.events import Event, NoteOff, NoteOn
from ....host.kinds.spectrum.kind import SpectrumKind
from ....host.patch.library import Patch, default_knobs, default_macros, macro_knobs
from ....host.patch.preset import EnvelopeSettings, PlaySettings, Preset
from ..kind import RATE, ExportKind, preset_of
from .player import SpectrumPlayer
from .search_view import SpectraView

SCALE = (0, 2, 4, 5, 7, 9, 11, 12)
NOTE_SECONDS = 0.5


def preset(model: Model) -> Preset:
    edges = {} if model.gestures else {"attack_seconds": 0.005, "release_seconds": 0.2}  # notes have their own
    return preset_of(
        model,
        play=PlaySettings(mode="poly", voices=16),
        envelope=EnvelopeSettings(decay_seconds=0.1, sustain=1.0, **edges),
        cc=[*default_knobs(model.card), *macro_knobs(model.card)],
        macro=default_macros(model.card),
    )


def scale(lowest: int, velocity: int) -> tuple[list[Event], int]:
    length = round(NOTE_SECONDS * RATE)
    events: list[Event] = []
    for index, step in enumerate(SCALE):
        events.append(NoteOn(index * length, 0, lowest + step, velocity))
        events.append(NoteOff((index + 1) * length - length // 8, 0, lowest + step))
    return events, len(SCALE) * length


def _demo(patch: Patch, velocity: int) -> tuple[list[Event], int]:
    chroma = patch.model.card.chroma
    return scale(12 * ((chroma.octave if chroma else 4) + 1), velocity)


KIND = ExportKind(SpectrumKind.name, preset, _demo, view=SpectraView, player=SpectrumPlayer)
