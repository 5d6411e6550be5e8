"""Descriptor of the sequence family."""

from ...preview import held_sequences
from ..family import Family
from .batches import check_sequences, describe_sequences, sequence_data, with_clips
from .network import RecurrentNetwork

FAMILIES = {
    "sequence": Family(
        RecurrentNetwork,
        check_sequences,
        sequence_data,
        held_sequences,
        complete=with_clips,
        describe=describe_sequences,
    ),
}
