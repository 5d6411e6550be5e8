"""Descriptor of the grain family."""

from ..family import ExportFamily, how_textures_play
from .graphs import grain_graphs
from .report import report

FAMILIES = {
    "grain": ExportFamily(
        grain_graphs,
        report,
        "texture-10",
        "a texture of grains, which keys move and knobs walk",
        how_textures_play,
        "texture.wav",
        completing=("frames.held_out=0",),
    ),
}
