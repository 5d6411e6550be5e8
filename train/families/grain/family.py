"""Descriptor of the grain family."""

from ...preview import Preview
from ..family import Family
from .batches import check_grains, grain_data
from .network import GrainAutoencoder
from .preview import held_grains

FAMILIES = {
    "grain": Family(GrainAutoencoder, check_grains, grain_data, Preview(held_grains), bfloat16=True),
}
