"""Descriptor of the partials family."""

from ..family import Family
from .network import PartialsAutoencoder, check_partials, in_span, partials_data

FAMILIES = {
    "partials": Family(PartialsAutoencoder, check_partials, partials_data, None, complete=in_span, bfloat16=True),
}
