"""Family descriptor: the functions that export calls."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...host.model.model import Model
from ...host.preset.preset import Preset
from ...train.corpus.store import Corpus
from ..graphs import Graphs
from ..reports.report import Report


@dataclass(frozen=True)
class ExportFamily:
    """Graphs, report and `make` settings of a network family.

    Args:
        graphs: returns decoder, encoder, codes of sampled training data and card fields; receives whether the corpus is
            tonal, and raises UserError if no training data is audible. None for networks without sound: neither
            exported nor made.
        report: of run, network, checkpoint name, step and progress, for `timbrel evaluate`; raises UserError for a
            silent corpus.
        recipe: that `make` trains, of families in ``MADE``.
        why: purpose of its instruments, for users.
        plays: returns how a preset plays a model, for users; receives whether the corpus is tonal.
        heard: file of `make`'s demo; an instrument's report receives it as ``heard``.
        changes: `make`'s recipe changes for a corpus, as ``key=value``.
        keyed: `make` holds whole keys out of the trial, and the report compares ``trial`` and instrument; the trial of
            others holds out clips, and the report is of the trial.
        completing: recipe changes, as ``key=value``, with which the instrument learns ends of clips after the trial.
        played: the report compares notes with recordings; it receives ``exported``, which opens the first preset, and
            ``instrument``, its folder.
        judged: the report receives a classifier ``judge``.
        whole: clips are whole recordings, at their own rate and of any length.
        gridded: clips are loops on one grid, at their own rate.
        unpitched: warning for sounds without a clear pitch.
    """

    graphs: Callable[[Any, Any, Corpus, bool], Graphs] | None
    report: Callable[..., Report]
    recipe: str = ""
    why: str = ""
    plays: Callable[[Preset, Model, bool], str] = lambda preset, model, tonal: ""
    heard: str = ""
    changes: Callable[[Corpus], list[str]] = lambda corpus: []
    keyed: bool = False
    completing: tuple[str, ...] = ()
    played: bool = False
    judged: bool = False
    whole: bool = False
    gridded: bool = False
    unpitched: str = ""


def how_notes_play(preset: Preset, model: Model, tonal: bool) -> str:
    return "keys choose the note" if tonal else "keys choose the colour"


def how_textures_play(preset: Preset, model: Model, tonal: bool) -> str:
    return "keys move its grains in pitch, knobs walk its sounds"


def how_kits_play(preset: Preset, model: Model, tonal: bool) -> str:
    keys = [entry.key for entry in preset.keys]
    return f"{len(keys)} keys from {keys[0]} to {keys[-1]} play its clips, knobs bend them"


def how_loops_play(preset: Preset, model: Model, tonal: bool) -> str:
    named = [latent.name for latent in model.card.latents if not latent.name.startswith("latent")]
    steers = f"; knobs steer its {', '.join(named)}" if named else ""
    return f"a held key plays on at {preset.tempo_bpm:g} BPM{steers}"
