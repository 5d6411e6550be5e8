"""Networks that invert generators."""
