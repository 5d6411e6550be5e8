"""Descriptor of the chroma family."""

from ...preview import Preview
from ..family import Family
from .data import check_spectra, chroma_data, held_spectra, in_octave
from .network import ChromaAutoencoder

FAMILIES = {
    "chroma": Family(
        ChromaAutoencoder, check_spectra, chroma_data, Preview(held_spectra), complete=in_octave, bfloat16=True
    ),
}
