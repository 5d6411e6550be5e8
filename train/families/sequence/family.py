"""Descriptor of the sequence family."""

from ...preview import Preview
from ..family import Family
from .network import RecurrentNetwork, check_sequences, describe_sequences, held_sequences, sequence_data, with_clips

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
