"""Descriptor of the chroma family."""

from ...preview import Preview
from ..family import Family
from .batches import check_spectra, chroma_data, in_octave
from .network import ChromaAutoencoder
from .preview import held_spectra

FAMILIES = {
    "chroma": Family(
        ChromaAutoencoder, check_spectra, chroma_data, Preview(held_spectra), complete=in_octave, bfloat16=True
    ),
}
