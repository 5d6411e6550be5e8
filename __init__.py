"""timbrel turns recordings into playable instruments: host plays, train learns, export joins the two.

From Python:

    oboe = timbrel.open("solo-oboe")
    oboe.render([timbrel.Note(60), timbrel.Note(67, start=1)], seconds=3).save("notes.wav")

- `open` an `Instrument`: a preset or a model by name (`preset_names`, `model_names`) or path. It renders music,
  encodes, decodes, recovers and processes sounds; `Note`, `Sound`, `KnobRange`, `Landmark` and `RecoveredSound` go
  with it.
- `play` one live: a `LivePlayer`.
- `make` one of sounds; or step by step: `build_corpus`, `train_recipe`, `evaluate_run`, `export_model`.
- `render_dataset`: labelled notes, each a `LabelledSound`.

Errors are a `UserError` for wrong input and a `Failure` for all else, both a `TimbrelError`, in one line each. Times
are in seconds, rates in Hz, keys are MIDI's (60 is C4), channels 1 to 16. docs/python.md is the page for all of it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .export.api.automation import KnobRange
    from .export.api.instrument import Instrument, Landmark, RecoveredSound, make, play
    from .export.api.instrument import open as open
    from .export.api.live import LivePlayer
    from .export.api.notes import Note
    from .export.api.runs import LabelledSound, evaluate_run, export_model, render_dataset
    from .export.api.sound import Sound
    from .host.errors import Failure, TimbrelError, UserError
    from .host.preset.shipped import model_names, preset_names
    from .train.api import build_corpus, train_recipe

__version__ = "0.1.0"

_PLACES = {  # imported when first used: importing timbrel alone is quick
    "open": ("export.api.instrument", "open"),
    "make": ("export.api.instrument", "make"),
    "play": ("export.api.instrument", "play"),
    "Instrument": ("export.api.instrument", "Instrument"),
    "Landmark": ("export.api.instrument", "Landmark"),
    "RecoveredSound": ("export.api.instrument", "RecoveredSound"),
    "LivePlayer": ("export.api.live", "LivePlayer"),
    "KnobRange": ("export.api.automation", "KnobRange"),
    "Note": ("export.api.notes", "Note"),
    "LabelledSound": ("export.api.runs", "LabelledSound"),
    "build_corpus": ("train.api", "build_corpus"),
    "train_recipe": ("train.api", "train_recipe"),
    "evaluate_run": ("export.api.runs", "evaluate_run"),
    "export_model": ("export.api.runs", "export_model"),
    "render_dataset": ("export.api.runs", "render_dataset"),
    "Sound": ("export.api.sound", "Sound"),
    "preset_names": ("host.preset.shipped", "preset_names"),
    "model_names": ("host.preset.shipped", "model_names"),
    "TimbrelError": ("host.errors", "TimbrelError"),
    "UserError": ("host.errors", "UserError"),
    "Failure": ("host.errors", "Failure"),
}

__all__ = [  # without `open`, which would shadow Python's own
    "Failure",
    "Instrument",
    "KnobRange",
    "LabelledSound",
    "Landmark",
    "LivePlayer",
    "Note",
    "RecoveredSound",
    "Sound",
    "TimbrelError",
    "UserError",
    "build_corpus",
    "evaluate_run",
    "export_model",
    "make",
    "model_names",
    "play",
    "preset_names",
    "render_dataset",
    "train_recipe",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _PLACES[name]
    value = getattr(import_module(f".{module}", __name__), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
