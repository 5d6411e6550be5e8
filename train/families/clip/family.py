"""Descriptor of the clip family."""

from ...data import with_words
from ...preview import Preview
from ..family import Family
from .data import check_hits, describe_hits, held_hits, hit_data
from .network import ClipAutoencoder

FAMILIES = {
    "clip": Family(
        ClipAutoencoder,
        check_hits,
        hit_data,
        Preview(held_hits),
        complete=with_words,
        describe=describe_hits,
    ),
}
