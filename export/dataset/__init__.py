"""Data sets of labelled notes: drawn, rendered in batches, kept in WebDataset shards."""
