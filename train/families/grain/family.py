"""Descriptor of the grain family."""

from ...preview import Preview
from ..family import Family
from .data import check_grains, grain_data, held_grains
from .network import GrainAutoencoder

FAMILIES = {
    "grain": Family(GrainAutoencoder, check_grains, grain_data, Preview(held_grains), bfloat16=True),
}
