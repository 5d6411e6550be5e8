"""Networks that continue loops slice by slice."""
