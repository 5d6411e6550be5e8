"""Data sets of labelled notes: drawn from a seed, rendered in batches, kept in WebDataset shards."""
