"""Descriptor of the invert family."""

from ...batches.clips import check_clips, clip_data, describe
from ...preview import held_inversions
from ..family import Family
from .network import Inverter, following

FAMILIES = {
    "invert": Family(
        Inverter,
        check_clips,
        clip_data,
        held_inversions,
        follows=following,
        describe=describe,
        reads=("generator", "judge"),
    ),
}
