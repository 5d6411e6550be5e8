"""Descriptor of the clip family."""

from ...batches.clip_selection import with_words
from ...preview import Preview
from ..family import Family
from .batches import check_hits, describe_hits, hit_data
from .network import ClipAutoencoder
from .preview import held_hits

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
