"""Descriptor of the loops family."""

from ..family import Family
from .data import check_loops, describe_loops, loop_data, on_grid
from .network import LoopNetwork

FAMILIES = {
    "loops": Family(
        LoopNetwork, check_loops, loop_data, None, complete=on_grid, describe=describe_loops, measured=True
    ),
}
