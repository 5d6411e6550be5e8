"""A kind of these tests alone: clips that are decoded on a worker."""
