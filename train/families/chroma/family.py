"""Descriptor of the chroma family."""

from ...preview import held_spectra
from ..family import Family
from .batches import check_spectra, chroma_data, in_octave
from .network import ChromaAutoencoder

FAMILIES = {
    "chroma": Family(ChromaAutoencoder, check_spectra, chroma_data, held_spectra, complete=in_octave),
}
