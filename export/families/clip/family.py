"""Descriptor of the clip family."""

from ....train.families.clip.data import hit_changes
from ..family import ExportFamily, how_kits_play
from .graphs import clip_graphs
from .report import report

FAMILIES = {
    "clip": ExportFamily(
        clip_graphs,
        report,
        "tuned-clip",
        "a kit, with hits or words on its keys and knobs that bend them",
        how_kits_play,
        "kit.wav",
        hit_changes,
        judged=True,
        whole=True,
    ),
}
