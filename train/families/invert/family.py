"""Descriptor of the invert family."""

from ...preview import Preview
from ..family import Family
from ..gan.data import check_clips, clip_data, describe
from .network import Inverter, following, held_inversions

FAMILIES = {
    "invert": Family(
        Inverter,
        check_clips,
        clip_data,
        Preview(held_inversions, pictured=True),
        follows=following,
        describe=describe,
        reads=("generator", "judge"),
    ),
}
