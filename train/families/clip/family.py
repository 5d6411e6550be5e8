"""Descriptor of the clip family."""

from ...batches.clips import with_words
from ...preview import held_hits
from ..family import Family
from .batches import check_hits, describe_hits, hit_data
from .network import ClipAutoencoder

FAMILIES = {
    "clip": Family(ClipAutoencoder, check_hits, hit_data, held_hits, complete=with_words, describe=describe_hits),
}
