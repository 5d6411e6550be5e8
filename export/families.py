"""A row for each family of networks: all that export, reports and `make` ask of it by its name."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..host.contract.model import Model
from ..host.progress import Display
from ..train.batches.frames import is_tonal
from ..train.batches.hits import hit_changes
from ..train.corpus.store import Corpus
from ..train.run import Run
from .chroma import chroma_graphs
from .clip import clip_graphs
from .first_preset import FirstPreset, first_kit, first_loop, first_scale, first_texture
from .gan import gan_graphs, halves_graphs, invert_graphs
from .grain import grain_graphs
from .graphs import Graphs
from .partials import partials_graphs
from .reports import chroma, classifier, clip, gan, grain, partials, sequence
from .reports.report import Report
from .streams import loop_report
from .streams.loops import loop_graphs
from .streams.sequence import sequence_graphs


@dataclass(frozen=True)
class ExportFamily:
    """A family's row: its graphs, its report and the instruments that `make` makes of it.

    Args:
        graphs: its decoder and encoder, and its part of the card; told whether the corpus is tonal. None where networks
            make no sound: these are not exported, `make` takes none of them, and what else it asks is left out.
        report: what `timbrel evaluate` says of a run: its network, and the name and the step of the checkpoint.
        recipe: that `make` trains; none of families that take hours.
        why: what its instruments do, in words for who makes one.
        changes: what `make` sets in the recipe for a corpus, as ``key=value``.
        tried: `make` holds out whole keys, and trains once without them for its report, and then with all.
        played: its report takes the exported model, and compares notes that it plays with recordings.
        judged: its report takes a classifier's ``judge`` of clips.
        whole: its clips are whole recordings, at their own rate and however short.
        gridded: its clips are loops, at their own rate, on one grid.
        unpitched: a warning for sounds without a clear pitch, if it is for sounds with one.
        called: its name where users choose a family, if that is not its own.
        first: the preset that `make` writes, with something to hear.
        heard: the file of that sound.
    """

    graphs: Callable[[Any, Any, Corpus, bool], Graphs] | None
    report: Callable[..., Report]
    recipe: str = ""
    why: str = ""
    first: Callable[[Path, Run, Model, Display], FirstPreset] | None = None
    heard: str = ""
    changes: Callable[[Corpus], list[str]] = lambda corpus: []
    tried: bool = False
    played: bool = False
    judged: bool = False
    whole: bool = False
    gridded: bool = False
    unpitched: str = ""
    called: str = ""


FAMILIES: dict[str, ExportFamily] = {
    "chroma": ExportFamily(
        chroma_graphs,
        chroma.report,
        "tuned-8",
        "keys will choose the note, knobs the colour",
        first_scale,
        "scale.wav",
        lambda corpus: [] if is_tonal(corpus) else ["loss.consistency=0.0"],  # it would force a pitch on what has none
        played=True,
        unpitched="the recordings have no clear pitch: keys will choose the colour of the sound, not its note",
    ),
    "partials": ExportFamily(
        partials_graphs,
        partials.report,
        "tuned-partials",
        "keys will choose the note, knobs the colour",
        first_scale,
        "scale.wav",
        tried=True,
        played=True,
    ),
    "grain": ExportFamily(
        grain_graphs,
        grain.report,
        "texture-10",
        "a texture of grains, which keys move and knobs walk",
        first_texture,
        "texture.wav",
    ),
    "gan": ExportFamily(gan_graphs, gan.report, judged=True),
    "dcgan": ExportFamily(gan_graphs, gan.report, judged=True),
    "halves": ExportFamily(halves_graphs, gan.report, judged=True),
    "classifier": ExportFamily(None, classifier.report),
    "invert": ExportFamily(invert_graphs, gan.report, judged=True),
    "clip": ExportFamily(
        clip_graphs,
        clip.report,
        "tuned-clip",
        "a kit, with hits or words on its keys and knobs that bend them",
        first_kit,
        "kit.wav",
        hit_changes,
        judged=True,
        whole=True,
    ),
    "sequence": ExportFamily(sequence_graphs, sequence.report),
    "loops": ExportFamily(
        loop_graphs,
        loop_report.report,
        "tuned-sequence",
        "a held key plays on in their manner and in time, knobs steer it",
        first_loop,
        "loop.wav",
        lambda corpus: [f"frames.sample_rate={corpus.rate}"],
        gridded=True,
        called="sequence",
    ),
}
# What `make` takes where nothing is asked for: of sounds with a pitch, of those whose partials are no harmonics, of
# sounds without a pitch, of hits and words, and of loops.
TONAL, FREE, TEXTURE, SHORT, LOOPS = "partials", "chroma", "grain", "clip", "loops"


def said(family: str) -> str:
    """Return the name that users choose a family by."""
    return FAMILIES[family].called or family


def chosen(name: str) -> str:
    """Return the family that users choose by a name; ``auto`` stays what it is."""
    return next((family for family, row in FAMILIES.items() if row.called == name), name)
