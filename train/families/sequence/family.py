"""Descriptor of the sequence family."""

from ...preview import Preview
from ..family import Family
from .batches import check_sequences, describe_sequences, sequence_data, with_clips
from .network import RecurrentNetwork
from .preview import held_sequences

FAMILIES = {
    "sequence": Family(
        RecurrentNetwork,
        check_sequences,
        sequence_data,
        Preview(held_sequences, pictured=True),
        complete=with_clips,
        describe=describe_sequences,
    ),
}
