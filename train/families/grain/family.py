"""Descriptor of the grain family."""

from ...preview import held_grains
from ..family import Family
from .batches import check_grains, grain_data
from .network import GrainAutoencoder

FAMILIES = {
    "grain": Family(GrainAutoencoder, check_grains, grain_data, held_grains),
}
